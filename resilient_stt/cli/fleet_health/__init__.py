"""`resilient-stt health`: what all processes of a fleet know of each provider, and its locks."""
