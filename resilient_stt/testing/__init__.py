"""The chaos kit: fake providers that transcribe what they hear, faults, speech, scores."""

from .cartesia import FakeCartesia
from .clock import VirtualTimeLoop, run_virtual
from .deepgram import FakeDeepgram
from .faults import (
    Drop,
    DropAfterClose,
    EmptyFinals,
    EndCleanly,
    Fault,
    FaultScript,
    Garbage,
    HalfOpen,
    Hang,
    IgnoreClose,
    InBandError,
    Latency,
    Refuse,
    Stall,
    Status,
    from_,
)
from .noise import babble, coughs, join, music, reversed_speech, silence
from .play import Played, play
from .plugin import PlaySpeech
from .score import Final, Score, score
from .speech import ReferenceSpeech, SpokenWord

__all__ = [
    "Drop",
    "DropAfterClose",
    "EmptyFinals",
    "EndCleanly",
    "FakeCartesia",
    "FakeDeepgram",
    "Fault",
    "FaultScript",
    "Final",
    "Garbage",
    "HalfOpen",
    "Hang",
    "IgnoreClose",
    "InBandError",
    "Latency",
    "PlaySpeech",
    "Played",
    "ReferenceSpeech",
    "Refuse",
    "Score",
    "SpokenWord",
    "Stall",
    "Status",
    "VirtualTimeLoop",
    "babble",
    "coughs",
    "from_",
    "join",
    "music",
    "play",
    "reversed_speech",
    "run_virtual",
    "score",
    "silence",
]
