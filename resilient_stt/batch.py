"""Batch recognition over the same providers, and the recovery of one that failed at it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt
from livekit.agents.types import NotGivenOr
from livekit.agents.utils import AudioBuffer, is_given
from livekit.agents.utils.audio import calculate_audio_duration

from .core.breaker import State
from .core.health import Health
from .errors import Failure, classify, lacks_http_session, no_http_session
from .frames import mono
from .leg import CLOSE_PATIENCE, close_for_good
from .observe import logger

if TYPE_CHECKING:
    from .stt import ResilientSTT

_FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT

RECOVERY_ATTEMPTS = 5
"""Tries at a buffer that a provider failed on, in the background, before it is left alone."""


class Batch:
    """Recognises whole buffers, by whoever answers first in order of preference."""

    def __init__(
        self,
        owner: ResilientSTT,
        providers: Mapping[str, stt.STT[Any]],
        health: Mapping[str, Health],
    ) -> None:
        self._owner = owner
        self._providers = providers
        self._health = health
        self._recovering: dict[str, asyncio.Task[None]] = {}

    async def recognize(
        self, buffer: AudioBuffer, language: NotGivenOr[str], timeout: float
    ) -> stt.SpeechEvent:
        """Try the providers in order, those whose breaker is open last.

        Raises:
            APIConnectionError: all of them failed.
        """
        names = sorted(self._usable(), key=lambda n: not self._healthy(n))
        for name in names:
            if not self._health[name].available:
                self._recover(name, buffer, language, timeout)
        sessionless = 0
        for name in names:
            try:
                event = await self._attempt(name, buffer, language, timeout)
            except Exception as error:
                sessionless += lacks_http_session(error)
                if sessionless == len(names):
                    raise no_http_session() from None
                self._failed(name, error)
                self._recover(name, buffer, language, timeout)
            else:
                self._owner.serve(name)
                return event
        raise APIConnectionError(f"all STTs failed ({', '.join(names)})")

    async def aclose(self) -> None:
        """Stop recoveries that are under way, within `CLOSE_PATIENCE` whatever a provider does."""
        for task in (tasks := list(self._recovering.values())):
            task.cancel()
        if tasks:
            _, alive = await asyncio.wait(tasks, timeout=CLOSE_PATIENCE)
            for task in alive:
                logger.error("provider cannot be stopped", task=task.get_name())

    def _admitted(self, name: str) -> bool:
        return self._health[name].breaker.admits(asyncio.get_running_loop().time())

    def _usable(self) -> list[str]:
        """All but those whose credentials were refused, if not all were."""
        now = asyncio.get_running_loop().time()
        locked = {n for n, h in self._health.items() if h.breaker.state(now) is State.LOCKED}
        return [n for n in self._providers if n not in locked] or list(self._providers)

    def _healthy(self, name: str) -> bool:
        return self._health[name].available and self._admitted(name)

    async def _attempt(
        self, name: str, buffer: AudioBuffer, language: NotGivenOr[str], timeout: float
    ) -> stt.SpeechEvent:
        provider = self._providers[name]
        options = APIConnectOptions(max_retry=0, timeout=timeout)
        by_itself = provider.capabilities.offline_recognize
        # plugins apply `timeout` to connecting only; recognisers hear faster than in real time
        async with asyncio.timeout(timeout + calculate_audio_duration(buffer)):
            event = await (
                provider.recognize(buffer, language=language, conn_options=options)
                if by_itself
                else _by_streaming(provider, buffer, language, options)
            )
        self._health[name].breaker.succeeded(asyncio.get_running_loop().time())
        self._health[name].refused = False
        self._available(name, True)
        return event

    def _counted(self, name: str, error: Exception) -> Failure:
        """What a failure means, counted against the provider's health."""
        failure = classify(error)
        now = asyncio.get_running_loop().time()
        self._health[name].breaker.failed(failure.kind, now, failure.retry_after)
        return failure

    def _failed(self, name: str, error: Exception) -> None:
        failure = self._counted(name, error)
        if self._health[name].is_news(failure.kind):
            self._owner.report_failure(name, failure)
        self._available(name, False)

    def _available(self, name: str, available: bool) -> None:
        if self._health[name].available is not available:
            self._health[name].available = available
            self._owner.report_availability(name, available)

    def _recover(
        self, name: str, buffer: AudioBuffer, language: NotGivenOr[str], timeout: float
    ) -> None:
        """Find out in the background when the provider is back, as LiveKit's adapter does."""
        task = self._recovering.get(name)
        if (task is None or task.done()) and self._admitted(name):
            self._recovering[name] = asyncio.create_task(
                self._try_again(name, buffer, language, timeout),
                name=f"resilient_stt.recover-{name}",
            )

    async def _try_again(
        self, name: str, buffer: AudioBuffer, language: NotGivenOr[str], timeout: float
    ) -> None:
        for attempt in range(RECOVERY_ATTEMPTS):
            await asyncio.sleep(self._owner.draw_wait(attempt))
            if not self._admitted(name):
                return
            try:
                await self._attempt(name, buffer, language, timeout)
            except Exception as error:
                self._counted(name, error)
            else:
                return


async def _by_streaming(
    provider: stt.STT[Any],
    buffer: AudioBuffer,
    language: NotGivenOr[str],
    options: APIConnectOptions,
) -> stt.SpeechEvent:
    """Recognise a buffer with a provider that can only stream."""
    stream = provider.stream(language=language, conn_options=options)
    try:
        await asyncio.sleep(0)  # a stream whose input ends before it ran may never connect
        for frame in buffer if isinstance(buffer, list) else [buffer]:
            stream.push_frame(mono(frame))
        stream.end_input()
        events = [event async for event in stream]
    finally:
        await close_for_good(stream)
    finals = [e for e in events if e.type is _FINAL and e.alternatives]
    return _joined(finals, language)


def _joined(finals: list[stt.SpeechEvent], language: NotGivenOr[str]) -> stt.SpeechEvent:
    """Several finals as one; an empty one if nothing was said."""
    if not finals:
        code = LanguageCode(language if is_given(language) else "")
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language=code, text="")],
        )
    parts = [event.alternatives[0] for event in finals]
    whole = dataclasses.replace(
        parts[0],
        text=" ".join(p.text.strip() for p in parts if p.text.strip()),
        end_time=parts[-1].end_time,
        words=[word for p in parts for word in p.words or []] or None,
    )
    return dataclasses.replace(finals[-1], alternatives=[whole])
