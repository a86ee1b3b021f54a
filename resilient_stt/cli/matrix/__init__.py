"""`resilient-stt matrix`: every provider that has a fake, in every place, with every fault."""
