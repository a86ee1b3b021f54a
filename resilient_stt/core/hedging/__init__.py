"""Hedges: a second connection that checks whether a silent one has stalled."""
