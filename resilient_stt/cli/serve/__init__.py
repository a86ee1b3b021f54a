"""`resilient-stt serve`: the fake servers, for an agent in another process."""
