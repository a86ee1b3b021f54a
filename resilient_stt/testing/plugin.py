"""What the fixtures of the pytest plugin return. The plugin itself is `_resilient_stt_pytest`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from livekit.agents import stt
from livekit.agents.utils import http_context

from .fakes.registry import FAKES
from .fakes.server import FakeServer
from .harness.play import OnEvent, Played, play
from .speech.accent import Accent
from .speech.reference import SAMPLE_RATE, ReferenceSpeech


class PlaySpeech(Protocol):
    """The type of the fixture `play_speech`: `play` with a default for the speech."""

    async def __call__(
        self,
        target: stt.STT[Any],
        speech: ReferenceSpeech = ...,
        *,
        sample_rate: int = SAMPLE_RATE,
        channels: int = 1,
        frame_duration: float = 0.02,
        patience: float = 30.0,
        on_event: OnEvent | None = None,
        accents: Sequence[Accent] = (),
    ) -> Played:
        """Play speech to a new stream of `target`, and listen until it ends."""


@dataclass(frozen=True)
class Bench:
    """The running servers of one test, and what has to be closed when it ends.

    Attributes:
        http: The HTTP session that LiveKit's plugins use while the bench is open.
        servers: The running servers without faults that the test asked for, by name.
        closing: What to close at the end of the test.
    """

    http: aiohttp.ClientSession
    servers: Mapping[str, FakeServer]
    closing: AsyncExitStack

    @classmethod
    @asynccontextmanager
    async def open(cls, names: Collection[str]) -> AsyncIterator[Bench]:
        """Run the servers with these names of `FAKES`. After the block, close the STTs that were
        played to, and stop the servers."""
        async with http_context.open() as http, AsyncExitStack() as running:
            servers = {name: await running.enter_async_context(FAKES[name]()) for name in names}
            async with AsyncExitStack() as closing:
                yield cls(http, servers, closing)

    async def play(self, target: stt.STT[Any], speech: ReferenceSpeech, **options: Any) -> Played:
        """Play speech to an STT, as `play` does, and close the STT at the end of the test."""
        self.closing.push_async_callback(target.aclose)
        return await play(target, speech, **options)
