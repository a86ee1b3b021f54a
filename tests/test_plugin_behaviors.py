"""What plugins do that LiveKit's interface does not say: the published ones over their fakes, and
odd ones of our own. No rule may know them by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit.agents import stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context

from resilient_stt import ResilientSTT
from resilient_stt.testing import Fault, Played, ReferenceSpeech, play
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.fakes.registry import FAKES
from resilient_stt.testing.fakes.server import FakeServer

pytestmark = [
    pytest.mark.stt_virtual_time,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

THREE_SENTENCES = ReferenceSpeech.load("english").excerpt(0, 3).padded(1.0)


@pytest.fixture
async def session() -> AsyncIterator[None]:
    """LiveKit's HTTP session, which plugins use outside a worker."""
    async with http_context.open():
        yield


def fake_of(name: str, *faults: Fault) -> FakeServer:
    """The fake of a provider; the test is skipped without its plugin."""
    if name not in ("flux", "inference"):
        pytest.importorskip(f"livekit.plugins.{name}")
    return FAKES[name](faults=list(faults))


class Call:
    """One call over a `ResilientSTT`, and what it reported."""

    def __init__(self, *providers: stt.STT[Any], **options: Any) -> None:
        self.stt = ResilientSTT([*providers], **options)
        self.failures: list[str] = []
        self.streams: list[stt.RecognizeStream] = []
        self.stt.on("provider_failed", lambda e: self.failures.append(f"{e.provider} {e.reason}"))
        opened = self.stt.stream

        def remembered(**given: Any) -> Any:
            self.streams.append(opened(**given))
            return self.streams[-1]

        self.stt.stream = remembered  # type: ignore[method-assign]

    async def play(self, speech: ReferenceSpeech = THREE_SENTENCES, **options: Any) -> Played:
        return await play(self.stt, speech, **options)


@pytest.mark.parametrize("name", ["gladia", "assemblyai", "soniox", "xai"])
async def test_a_flush_in_mid_speech_harms_nobody(name: str, session: None) -> None:
    """Gladia ends its session when it is flushed, and AssemblyAI is sent a chunk that is too short:
    a provider is flushed only if it answers flushes."""

    def flush(_at: float, event: stt.SpeechEvent) -> None:
        if event.type is SpeechEventType.INTERIM_TRANSCRIPT:
            call.streams[0].flush()

    async with fake_of(name) as server, FakeDeepgram() as fallback:
        call = Call(server.stt(), fallback.stt())
        played = await call.play(on_event=flush)
        assert (played.score.lost, played.score.twice) == (0, 0)
        assert call.failures == []
        assert len(server.connections) == 1
