"""`resilient-stt check --live`: two seconds of speech to every provider, and what came of it."""
