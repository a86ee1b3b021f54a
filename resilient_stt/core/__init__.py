"""The decisions, pure: plain functions of inputs and `now`.

Nothing in here knows asyncio, a clock, randomness, a logger or LiveKit; a test walks the folder
and fails on a foreign import.
"""
