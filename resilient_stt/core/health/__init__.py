"""The health of a provider: its breaker, its latency, and what other processes report of it."""
