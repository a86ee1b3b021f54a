"""One attempt: a bare stream of a provider, two seconds of speech, and when what came of it.

The plugin is used as it is, without the failover around it. Every wait has an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, stt
from livekit.agents.types import NOT_GIVEN
from livekit.agents.utils import aio

from ...causes import reason_of
from ...core.policy import Policies
from ...errors import Failure, classify_for
from ...livekit import compat
from ...livekit.provider_connection import close_for_good
from .spoken_sample import SpokenSample

WORDS_WITHIN = 10.0
"""Seconds after the speech within which a final must come; the slowest of the providers that the
kit knows has 6 (docs/providers.md)."""
_SETTLE = 1.0  # seconds after a final in which another one is waited for
_POLL = 0.01  # seconds between two looks at a stream's queue


@dataclass(slots=True)
class Attempt:
    """What an attempt showed. It keeps no text. Times are in seconds."""

    connect: float | None = None
    """From the opening of the stream until its plugin took audio; `None` if it did not, or cannot
    stream."""
    first_word: float | None = None
    """From the first of the audio to the first transcript with text."""
    final: float | None = None
    """From the end of the audio to the last final with text; 0 if it came before."""
    failure: Failure | None = None
    reason: str = ""
    """Why the provider failed, as far as its exception says."""
    waited: float | None = None
    """How long it was waited for, if it did not answer in time."""

    def failed(self, error: BaseException, language: str) -> None:
        """Note the exception of the plugin. The first one says most."""
        if self.failure is None:
            self.failure, self.reason = classify_for(error, language), reason_of(error)


async def attempt(
    provider: stt.STT[Any], language: str, sample: SpokenSample, policies: Policies
) -> Attempt:
    """Ask a provider to transcribe the sample.

    Args:
        provider: as its plugin made it.
        language: the tag that its stream is opened with; empty for the provider's own.
        sample: what is spoken.
        policies: for how long a connection may take.
    """
    found = Attempt()
    try:
        if provider.capabilities.streaming:
            await _StreamTrial(provider, language, policies, found).run(sample)
        else:
            await _recognize(provider, language, sample, policies, found)
    except Exception as error:
        found.failed(error, language)
    return found


async def _recognize(
    provider: stt.STT[Any],
    language: str,
    sample: SpokenSample,
    policies: Policies,
    found: Attempt,
) -> None:
    """Send the sample as one buffer, as the providers get it that cannot stream."""
    began = _now()
    within = policies.retry.utterance_timeout
    try:
        async with asyncio.timeout(within):
            event = await provider.recognize(
                [*sample.frames()],
                language=language or NOT_GIVEN,
                conn_options=APIConnectOptions(max_retry=0, timeout=within),
            )
    except TimeoutError:
        found.waited = within
        return
    if _has_text(event):
        found.first_word = found.final = _now() - began


class _StreamTrial:
    """A bare stream, fed as fast as people speak."""

    def __init__(
        self, provider: stt.STT[Any], language: str, policies: Policies, found: Attempt
    ) -> None:
        """Open the stream.

        Raises:
            Exception: whatever the provider's `stream()` raises.
        """
        self._found = found
        self._connect_within = policies.connected_after
        self._opened = _now()
        self._stream = provider.stream(
            language=language or NOT_GIVEN,
            conn_options=APIConnectOptions(max_retry=0, timeout=policies.retry.connect_timeout),
        )
        compat.on_exception(self._stream, lambda error: found.failed(error, language))
        self._first_word: float | None = None
        self._last_final: float | None = None
        self._reader = asyncio.create_task(self._read(), name="resilient_stt.live-check")

    async def run(self, sample: SpokenSample) -> None:
        """Send the sample, and wait for its words.

        Raises:
            Exception: the stream failed.
        """
        try:
            frames = sample.frames()
            if not await self._connected(next(frames)):
                return
            started = _now()
            self._found.connect = started - self._opened
            await self._push(frames, started)
            ended = _now()
            await _until(lambda: self._is_complete(ended), WORDS_WITHIN)
            if self._first_word is not None:
                self._found.first_word = self._first_word - started
            if self._last_final is not None:
                self._found.final = max(0.0, self._last_final - ended)
            elif self._reader.done():
                await self._reader
        finally:
            await aio.cancel_and_wait(self._reader)
            await close_for_good(self._stream)

    async def _connected(self, first: rtc.AudioFrame) -> bool:
        """Push a frame, and wait until the plugin takes it, which most do once they are connected.

        Not all obey the limit that they are given: AssemblyAI's and Gladia's wait for ever (1.8.9).
        """
        self._stream.push_frame(first)
        taken = await _until(
            lambda: self._reader.done() or not compat.queue_length(self._stream),
            self._connect_within,
        )
        if not taken:
            self._found.waited = self._connect_within
        elif self._reader.done():
            await self._reader
        return taken

    async def _push(self, frames: Iterable[rtc.AudioFrame], started: float) -> None:
        due = started
        for frame in frames:
            due += frame.duration
            await asyncio.sleep(max(0.0, due - _now()))
            if self._reader.done():
                return  # `run` raises why
            self._stream.push_frame(frame)
        self._stream.end_input()

    async def _read(self) -> None:
        """Note when texts came, and no text."""
        async for event in self._stream:
            if _has_text(event):
                self._first_word = self._first_word or _now()
                if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                    self._last_final = _now()

    def _is_complete(self, ended: float) -> bool:
        """Whether nothing more is waited for: some streams stay open when they have told all."""
        if self._reader.done() or self._last_final is None:
            return self._reader.done()
        return _now() >= max(self._last_final, ended) + _SETTLE


def _has_text(event: stt.SpeechEvent) -> bool:
    text = event.alternatives[0].text if event.alternatives else ""
    return any(character.isalnum() for character in text or "")


async def _until(is_true: Callable[[], bool], within: float) -> bool:
    """Wait until something is true, for `within` seconds at most; return whether it is."""
    until = _now() + within
    while not is_true():
        if _now() >= until:
            return False
        await asyncio.sleep(_POLL)
    return True


def _now() -> float:
    return asyncio.get_running_loop().time()
