"""The stream's audio by position: what is committed, what is voiced, and how a replay is sent."""
