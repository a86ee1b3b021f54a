"""The chaos kit: what an STT does while its providers fail, to the word.

Any LiveKit STT can be put under it. It has four parts, each a value or an object of its own:

* Servers, `FakeCartesia` and `FakeDeepgram`: they speak the providers' protocols on loopback, and
  transcribe exactly the audio that reached them. A word that they heard from its middle comes back
  as a fragment; one that they did not hear, not at all; one of a language that the connection does
  not know, as a wrong word of one that it knows. `connections` and `struck` tell what happened.
* Faults: `Refuse`, `Hang` and `Status` meet a connection before it is open; `Drop`, `EndCleanly`,
  `DropAfterClose`, `Stall`, `HalfOpen`, `InBandError`, `Garbage`, `EmptyFinals`, `LostFinal`,
  `Latency` and `IgnoreClose` strike one that is. When they do is in their fields: at a word, after
  some audio, at a time; see `resilient_stt.testing.faults`. A server takes them when it is made, by
  its `faults`, and while it runs by `inject`, or by `strike` for the connections that are open now
  alone.
* `ReferenceSpeech`: recordings in three languages whose every word and time is known. `silence`,
  `babble`, `coughs`, `music` and `reversed_speech` are noise to `join` with it; joined recordings
  may change their language in the middle of the call.
* `play`, which plays speech to an STT at the pace at which it is spoken, and `score`, which
  compares the finals with what was spoken.

In pytest there are fixtures for all of them (`pytest --fixtures`), and the mark `stt_virtual_time`,
with which a test waits for nothing. Without pytest::

    from livekit.agents.utils import http_context
    from resilient_stt.testing import Drop, FakeCartesia, ReferenceSpeech, play, run_virtual

    async def main() -> None:
        faults = [Drop(at_word=16, part=0.5)]
        async with http_context.open(), FakeCartesia(faults=faults) as cartesia:
            played = await play(cartesia.stt(), ReferenceSpeech.load().padded(1.0))
        print(played.score)

    run_virtual(main())
"""

from .fakes.cartesia import FakeCartesia
from .fakes.deepgram import FakeDeepgram
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
    LostFinal,
    Refuse,
    Stall,
    Status,
    from_,
)
from .harness.clock import VirtualTimeLoop, run_virtual
from .harness.play import Played, play
from .harness.score import Final, Score, score
from .plugin import PlaySpeech
from .speech.noise import babble, coughs, join, music, reversed_speech, silence
from .speech.reference import ReferenceSpeech, SpokenWord

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
    "LostFinal",
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
