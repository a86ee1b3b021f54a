"""Which provider may serve: by preference, health and language."""
