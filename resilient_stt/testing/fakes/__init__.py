"""Fake Cartesia and Deepgram servers that transcribe exactly the audio that they received."""
