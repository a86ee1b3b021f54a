"""The chaos kit: tests what an STT does while its providers fail, word by word.

It works with any LiveKit STT, and has six parts:

* Servers, such as `FakeCartesia` and `FakeDeepgram`. They speak the providers' protocols on
  loopback, so the published plugins connect to them (`stt()` makes one), and transcribe exactly the
  audio that reaches them. A word that arrives in part is transcribed as a
  fragment, a word that does not arrive is missing, and a word in a language that the connection
  does not know becomes a wrong word of one that it knows. `connections` logs what happened on each
  connection, `triggered` which faults happened.
* Faults. `Refuse`, `Hang` and `Status` happen instead of a connection. `Drop`, `EndCleanly`,
  `DropAfterClose`, `Stall`, `HalfOpen`, `InBandError`, `Garbage`, `EmptyFinals`, `LostFinal`,
  `Latency` and `IgnoreClose` happen to open connections. Their fields say when: at a word, after
  some audio, or at a time; see `resilient_stt.testing.faults`. Give faults to a server's
  constructor, assign them to its `faults`, or add one with `inject` while the server runs.
  `trigger` lets a fault happen to the connections that are open now, and to no others.
* `ReferenceSpeech`: recordings in three languages, with the time of every word. `silence`,
  `babble`, `coughs`, `music` and `reversed_speech` make noise, and `join` puts recordings and noise
  together. Joined recordings may change their language in the middle of a call.
* `Accent`: how a server writes and times what it recognized. `Accent.drawn(seed)` draws one; two
  servers with different seeds disagree as real recognizers do. `score` knows every form of a word
  that an accent writes.
* `local_recognizer`, for the `recognizer` of a server: a real recognizer in this process, in place
  of the one that finds the audio in known recordings. With it, servers transcribe any speech:
  `human_speech()`, or recordings of your own by `read_speech`. A `Recognizer` may also be your own.
* `play`, which pushes speech to an STT at the pace of speech, and `score`, which compares the final
  transcripts with the words spoken.

For pytest there are fixtures for all of them (`pytest --fixtures`), and the mark
`stt_virtual_time`: the clock of a test that has it jumps over all waiting. Without pytest::

    from livekit.agents.utils import http_context
    from resilient_stt.testing import Drop, FakeCartesia, ReferenceSpeech, play, run_virtual

    async def main() -> None:
        faults = [Drop(at_word=16, part=0.5)]
        async with http_context.open(), FakeCartesia(faults=faults) as cartesia:
            played = await play(cartesia.stt(), ReferenceSpeech.load().padded(1.0))
        print(played.score)

    run_virtual(main())
"""

from .fakes.assemblyai import FakeAssemblyAI
from .fakes.azure import FakeAzure
from .fakes.cartesia import FakeCartesia
from .fakes.deepgram import FakeDeepgram
from .fakes.elevenlabs import FakeElevenLabs
from .fakes.flux import FakeFlux
from .fakes.gladia import FakeGladia
from .fakes.google import FakeGoogle
from .fakes.inference import FakeInference
from .fakes.openai import FakeOpenAI
from .fakes.sarvam import FakeSarvam
from .fakes.soniox import FakeSoniox
from .fakes.speechmatics import FakeSpeechmatics
from .fakes.xai import FakeXAI
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
from .harness.word_errors import word_error_rate
from .plugin import PlaySpeech
from .speech.accent import Accent
from .speech.engine_recognizer import local_recognizer
from .speech.human import human_speech, read_speech
from .speech.noise import babble, coughs, join, music, reversed_speech, silence
from .speech.recognizer import HeardWord, Recognizer, RecognizerFactory
from .speech.reference import ReferenceSpeech, SpokenWord

__all__ = [
    "Accent",
    "Drop",
    "DropAfterClose",
    "EmptyFinals",
    "EndCleanly",
    "FakeAssemblyAI",
    "FakeAzure",
    "FakeCartesia",
    "FakeDeepgram",
    "FakeElevenLabs",
    "FakeFlux",
    "FakeGladia",
    "FakeGoogle",
    "FakeInference",
    "FakeOpenAI",
    "FakeSarvam",
    "FakeSoniox",
    "FakeSpeechmatics",
    "FakeXAI",
    "Fault",
    "FaultScript",
    "Final",
    "Garbage",
    "HalfOpen",
    "Hang",
    "HeardWord",
    "IgnoreClose",
    "InBandError",
    "Latency",
    "LostFinal",
    "PlaySpeech",
    "Played",
    "Recognizer",
    "RecognizerFactory",
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
    "human_speech",
    "join",
    "local_recognizer",
    "music",
    "play",
    "read_speech",
    "reversed_speech",
    "run_virtual",
    "score",
    "silence",
    "word_error_rate",
]
