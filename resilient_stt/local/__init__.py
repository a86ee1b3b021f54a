"""A recognizer in this process: the last provider of a chain, and one that needs no key.

    from resilient_stt import ResilientSTT, local

    stt = ResilientSTT([cartesia.STT(model="ink-whisper"), deepgram.STT(), local.STT()])

It needs the extra `local`. Importing this package imports no recognizer.
"""

from .local_engine import (
    EngineName,
    Hypothesis,
    LocalEngine,
    Samples,
    TimedWord,
    UtteranceDecoder,
)
from .local_stt import STT, LocalStream

__all__ = [
    "STT",
    "EngineName",
    "Hypothesis",
    "LocalEngine",
    "LocalStream",
    "Samples",
    "TimedWord",
    "UtteranceDecoder",
]
