"""Batch recognition over the same providers, and the recovery of one that failed at it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tenacity
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, stt
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer
from livekit.agents.utils.audio import calculate_audio_duration

from .core.events import ErrorKind
from .core.health.breaker import BreakerState
from .core.health.provider import ProviderHealth
from .core.hedging.budget import HedgeBudget
from .core.messages import ACCOUNT_ERRORS, Role
from .core.policy import ProviderTraits
from .core.routing.language import Router
from .core.transcript import coverage as whole
from .errors import Failure, classify, lacks_http_session, no_http_session
from .livekit.buffers import join_finals, recognize_by_streaming, validate_frames, voice_spans
from .livekit.provider_connection import CLOSE_TIMEOUT
from .livekit.normalize import normalize
from .livekit.usage import UsageTag, current
from .observe import logger

if TYPE_CHECKING:
    from .stt import ResilientSTT

RECOVERY_ATTEMPTS = 5
"""Tries at a buffer that a provider failed on, in the background, before it is left alone."""

PERMANENT = (*ACCOUNT_ERRORS, ErrorKind.BAD_REQUEST)
"""Failures that the same buffer would meet again."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a provider made of a buffer, and how many seconds of speech it left untold."""

    provider: str
    event: stt.SpeechEvent
    missing: float


@dataclass(slots=True)
class _Request:
    """A buffer that is to be recognised, by whom, and what came of it so far."""

    buffer: AudioBuffer
    frames: list[rtc.AudioFrame]
    language: str
    timeout: float
    providers: tuple[ProviderTraits, ...]
    seconds: float = 0.0
    """How long the buffer is."""
    until: float | None = None
    """When the outage has lasted too long; none in the first round."""
    asked: list[str] = field(default_factory=list)
    """By name, in the order of the first round."""
    refused: set[str] = field(default_factory=set)
    """Who failed in a way that does not pass."""
    reported: set[tuple[str, ErrorKind, str]] = field(default_factory=set)
    """Failures that were told: of those that are alike only the first is."""
    pauses: list[float] = field(default_factory=list)
    """How long each that failed in this round asked to be left alone."""
    answers: list[_Answer] = field(default_factory=list)
    """Of all rounds; the first is doubtful if there is a second."""
    voice: list[whole.Stretch] | None = None
    """Where local voice activity hears speech, once that was asked."""

    def __post_init__(self) -> None:
        self.seconds = calculate_audio_duration(self.buffer)

    def language_for(self, provider: ProviderTraits) -> NotGivenOr[str]:
        """As it is given to the plugin."""
        return provider.language_hint(self.language) or NOT_GIVEN

    def left(self) -> float:
        """Seconds that a provider may take now, beside the time that the audio takes."""
        if self.until is None:
            return self.timeout
        return min(self.timeout, self.until - asyncio.get_running_loop().time())


class Batch:
    """Recognises whole buffers, by whoever answers first in order of preference."""

    def __init__(
        self,
        owner: ResilientSTT,
        providers: Mapping[str, stt.STT[Any]],
        health: Mapping[str, ProviderHealth],
        router: Router,
        budget: HedgeBudget,
    ) -> None:
        """`budget`: what second opinions may cost, of batch and streams together."""
        self._owner = owner
        self._budget = budget
        self._providers = providers
        self._health = health
        self._router = router
        self._recovering: dict[str, asyncio.Task[None]] = {}

    async def recognize(
        self, buffer: AudioBuffer, language: str, timeout: float
    ) -> stt.SpeechEvent:
        """Ask the providers of a language's route in order, those whose breaker is open last.

        With none answering, and one failing in a way that may pass, all but the hopeless are asked
        again: `RetryPolicy.reconnect_budget` times at most, and until `outage_limit` after the first
        round. An answer that leaves speech untold is doubted: another one is asked for, within
        what second opinions may cost, and the better is returned. An empty buffer is theirs to
        judge, as with LiveKit's adapter; who can only stream hears nothing in it.

        Args:
            buffer: a frame or a list of frames of one format, of any length.
            language: a BCP 47 tag; empty if none is known.
            timeout: seconds that a provider has to answer, beyond the length of the buffer.

        Raises:
            APIConnectionError: all of them failed.
            AudioFormatError: `buffer` is no audio, or of several formats.
        """
        frames = validate_frames(buffer)
        providers = self._router.lookup(language).providers
        request = _Request(buffer, frames, language, timeout, providers)
        self._budget.record_pushed(request.seconds, asyncio.get_running_loop().time())
        try:
            return await self._rounds(request)(self._round, request)
        except APIConnectionError:
            if not request.answers:
                raise
            return self._accept(request.answers[0], request)  # there is no second opinion
        finally:
            for provider in providers:
                if not self._health[provider.name].available:
                    self._recover(provider, request)

    async def aclose(self) -> None:
        """Stop recoveries that are under way, within `CLOSE_TIMEOUT` whatever a provider does."""
        for task in (tasks := list(self._recovering.values())):
            task.cancel()
        if tasks:
            _, alive = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
            for task in alive:
                logger.error("provider cannot be stopped", task=task.get_name())

    # -- rounds

    def _rounds(self, request: _Request) -> tenacity.AsyncRetrying:
        retry = self._owner.policies.retry
        loop = asyncio.get_running_loop()

        def wait(state: tenacity.RetryCallState) -> float:
            return max(self._owner.draw_wait(state.attempt_number), min(request.pauses))

        def stop(state: tenacity.RetryCallState) -> bool:
            # tenacity's own stops read a clock that is not the loop's
            if request.until is None:
                request.until = loop.time() + retry.outage_limit
            too_late = loop.time() + state.upcoming_sleep >= request.until
            return too_late or state.attempt_number > retry.reconnect_budget

        return tenacity.AsyncRetrying(
            sleep=asyncio.sleep,
            wait=wait,
            stop=stop,
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )

    async def _round(self, request: _Request) -> stt.SpeechEvent:
        request.pauses.clear()
        sessionless = 0
        for provider in (asked := self._in_order(request)):
            timeout = request.left()
            if request.until is not None and timeout <= 0:
                break
            if request.until is None:
                request.asked.append(provider.name)
            if not self._is_asked(provider, request):
                return join_finals([], request.language_for(provider))
            try:
                role = Role.HEDGE if request.answers else Role.ACTIVE
                answer = await self._attempt(provider, request, timeout, role)
            except Exception as error:
                sessionless += lacks_http_session(error)
                if sessionless == len(asked):
                    raise no_http_session() from None
                self._record_failure(provider.name, classify(error), request)
            else:
                request.answers.append(answer)
                best = whole.best_answer([a.missing for a in request.answers])
                if best is not None:
                    return self._accept(request.answers[best], request)
                request.pauses.append(0.0)
        raise APIConnectionError(
            f"all STTs failed ({', '.join(request.asked)})", retryable=bool(request.pauses)
        )

    def _in_order(self, request: _Request) -> list[ProviderTraits]:
        """The route without the hopeless, the healthy first; without refused credentials, too, if
        not all were."""
        now = asyncio.get_running_loop().time()
        of = [p for p in request.providers if p.name not in request.refused]
        unlocked = [
            p for p in of if self._health[p.name].breaker.state(now) is not BreakerState.LOCKED
        ]
        return sorted(unlocked or of, key=lambda p: not self._healthy(p.name))

    def _is_asked(self, provider: ProviderTraits, request: _Request) -> bool:
        """An empty stream would tell nothing: plugins may not even connect for it."""
        return request.seconds > 0 or self._by_itself(provider)

    def _by_itself(self, provider: ProviderTraits) -> bool:
        return self._providers[provider.name].capabilities.offline_recognize

    def _admitted(self, name: str) -> bool:
        return self._health[name].breaker.admits(asyncio.get_running_loop().time())

    def _healthy(self, name: str) -> bool:
        return self._health[name].available and self._admitted(name)

    async def _attempt(
        self, provider: ProviderTraits, request: _Request, timeout: float, role: Role
    ) -> _Answer:
        name, made = provider.name, self._providers[provider.name]
        language = request.language_for(provider)
        options = APIConnectOptions(max_retry=0, timeout=timeout)
        tag = current.set(UsageTag(name, role))
        try:
            # plugins apply `timeout` to connecting only; who is streamed it is sent it no slower
            # than in real time, and recognisers hear as fast
            async with asyncio.timeout(timeout + request.seconds):
                if self._by_itself(provider):
                    event = await made.recognize(
                        request.buffer, language=language, conn_options=options
                    )
                    finals = [event]
                else:
                    finals = await recognize_by_streaming(
                        made, request.frames, provider.pace, language, options
                    )
                    event = join_finals(finals, language)
        finally:
            current.reset(tag)
        untold = await self._missing_speech(finals, request)
        self._health[name].breaker.record_text(asyncio.get_running_loop().time())
        self._health[name].credentials_reported = False
        self._available(name, True)
        return _Answer(name, event, untold)

    async def _missing_speech(self, finals: list[stt.SpeechEvent], request: _Request) -> float:
        """Seconds of speech that finals leave untold; 0 if nobody may have a second opinion."""
        detector, policies = self._owner.detector(), self._owner.policies
        now = asyncio.get_running_loop().time()
        if detector is None or not (policies.watchdog.hedging and self._budget.allows(now)):
            return 0.0
        if request.voice is None:
            request.voice = await voice_spans(request.frames, detector)
        told = [normalize(event) for event in finals]
        return whole.missing_speech(request.voice, told, request.seconds, policies.replay)

    def _accept(self, answer: _Answer, request: _Request) -> stt.SpeechEvent:
        """Return an answer, and blame who left untold what it tells."""
        wrong = [other for other in request.answers if other.missing > answer.missing]
        for other in wrong:
            detail = f"{other.missing:.1f} s of speech untold"
            self._record_failure(other.provider, Failure(ErrorKind.STALLED, detail), request)
        if len(request.answers) > 1 and not wrong:
            self._budget.record_hedged(request.seconds, asyncio.get_running_loop().time())
        self._owner.serve(answer.provider)
        return answer.event

    # -- failures

    def _count_failure(self, name: str, failure: Failure) -> None:
        """A failure counts against the provider's health."""
        now = asyncio.get_running_loop().time()
        self._health[name].breaker.record_failure(failure.kind, now, failure.retry_after)

    def _record_failure(self, name: str, failure: Failure, request: _Request) -> None:
        self._count_failure(name, failure)
        if failure.kind in PERMANENT:
            request.refused.add(name)
        else:
            request.pauses.append(failure.retry_after or 0.0)
        news = (name, failure.kind, failure.detail)
        if news not in request.reported and self._health[name].note_failure(failure.kind):
            self._owner.report_failure(name, failure)
        request.reported.add(news)
        self._available(name, False)

    def _available(self, name: str, available: bool) -> None:
        if self._health[name].available is not available:
            self._health[name].available = available
            self._owner.report_availability(name, available)

    # -- recovery

    def _recover(self, provider: ProviderTraits, request: _Request) -> None:
        """Find out in the background when the provider is back, as LiveKit's adapter does."""
        name = provider.name
        task = self._recovering.get(name)
        if task is not None and not task.done():
            return
        if self._admitted(name) and self._is_asked(provider, request):
            self._recovering[name] = asyncio.create_task(
                self._try_again(provider, request), name=f"resilient_stt.recover-{name}"
            )

    async def _try_again(self, provider: ProviderTraits, request: _Request) -> None:
        for attempt in range(RECOVERY_ATTEMPTS):
            await asyncio.sleep(self._owner.draw_wait(attempt))
            if not self._admitted(provider.name):
                return
            try:
                await self._attempt(provider, request, request.timeout, Role.PROBE)
            except Exception as error:
                self._count_failure(provider.name, classify(error))
            else:
                return


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, APIConnectionError) and error.retryable
