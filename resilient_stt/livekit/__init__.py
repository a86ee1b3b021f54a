"""Everything that touches LiveKit: connections, events, frames, metrics and voice activity."""
