"""When the silence of a connection means that it has stalled, or has skipped speech."""
