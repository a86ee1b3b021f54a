"""The decisions of the SDK, as plain functions of inputs and of the time `now`.

Whatever decides is in here; whatever touches the world (sockets, clocks, randomness, logs, LiveKit)
is in the shell outside, which decides nothing. `tests/core/test_purity.py` fails on any import that
breaks this. Begin to read with `engine`.
"""
