"""Measure what `ResilientSTT` costs beside the bare plugin and LiveKit's `FallbackAdapter`."""
