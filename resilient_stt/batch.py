"""`recognize()`: whole buffers over the same providers, and recovery of those that failed at one.

The selector decides which provider is asked and in what order, `coverage` which answer is believed.
This module does the I/O: rounds with tenacity's waits between them, and background recovery.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import tenacity
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, stt
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer
from livekit.agents.utils.audio import calculate_audio_duration

from .core.events import ErrorKind, Role
from .core.messages import ACCOUNT_ERRORS, ReportAvailability
from .core.policy import ProviderTraits
from .core.routing.selector import ProviderSelector
from .core.transcript import coverage
from .errors import Failure, classify, classify_for, lacks_http_session, no_http_session
from .livekit.buffers import join_finals, recognize_by_streaming, validate_frames, voice_spans
from .livekit.normalize import normalize
from .livekit.provider_connection import CLOSE_TIMEOUT
from .livekit.usage import UsageTag, current
from .observe import logger
from .runtime import Runtime

REJECTING = (*ACCOUNT_ERRORS, ErrorKind.BAD_REQUEST)
"""Kinds of failure that the same buffer would meet again within `outage_limit`."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a provider made of a buffer, and how many seconds of speech are missing from it."""

    provider: str
    event: stt.SpeechEvent
    missing: float


@dataclass(slots=True)
class _Request:
    """A buffer to recognize, and what came of it so far."""

    buffer: AudioBuffer
    frames: list[rtc.AudioFrame]
    language: str
    timeout: float
    selector: ProviderSelector
    seconds: float = 0.0
    """Length of the buffer."""
    deadline: float | None = None
    """Loop time at which the outage limit is reached; `None` in the first round."""
    asked: list[str] = field(default_factory=list)
    """Names of the providers, in the order of the first round."""
    reported: set[tuple[str, ErrorKind, str]] = field(default_factory=set)
    """Failures that were reported: of several alike, only the first is."""
    pauses: list[float] = field(default_factory=list)
    """Seconds that each provider asked to be left alone, of those in this round whose failure may
    pass; empty if no later round can succeed."""
    answers: list[_Answer] = field(default_factory=list)
    """Answers of all rounds. If there are two, the first one lacks speech."""
    voice: list[coverage.Stretch] | None = None
    """Where local voice activity detected speech; `None` before it was asked."""

    def __post_init__(self) -> None:
        self.seconds = calculate_audio_duration(self.buffer)

    def language_for(self, provider: ProviderTraits) -> NotGivenOr[str]:
        """The language as the provider's plugin takes it."""
        return provider.language_hint(self.language) or NOT_GIVEN

    def remaining(self) -> float:
        """Seconds that a provider may take now, in addition to the length of the buffer."""
        if self.deadline is None:
            return self.timeout
        return min(self.timeout, self.deadline - asyncio.get_running_loop().time())


class Batch:
    """Recognizes whole buffers with the first provider that answers, in order of preference."""

    def __init__(self, runtime: Runtime) -> None:
        """Share providers, health and the hedge budget with the streams."""
        self._runtime = runtime
        self._recovering: dict[str, asyncio.Task[None]] = {}

    async def recognize(
        self, buffer: AudioBuffer, language: str, timeout: float
    ) -> stt.SpeechEvent:
        """Ask the providers of the language's route in order, healthy ones first.

        If all fail and one failure may pass, the providers are asked again: at most
        `RetryPolicy.reconnect_budget` times, and until `outage_limit` after the first round. An
        answer that lacks speech is checked by asking a second provider, within the hedge budget,
        and the better answer is returned. An empty buffer is passed on for the providers to judge,
        as in LiveKit's `FallbackAdapter`; a provider that can only stream answers it with no text.

        Args:
            buffer: a frame or a list of frames of one format, of any length.
            language: a BCP 47 tag; empty if none is known.
            timeout: seconds that a provider may take, in addition to the length of the buffer.

        Raises:
            APIConnectionError: all providers failed.
            AudioFormatError: `buffer` is not audio, or of several formats.
        """
        frames = validate_frames(buffer)
        runtime = self._runtime
        selector = ProviderSelector(
            runtime.router.lookup(language).providers,
            runtime.health,
            runtime.policies.retry,
            rejecting=REJECTING,
            language=language,
        )
        request = _Request(buffer, frames, language, timeout, selector)
        runtime.hedge_budget.record_pushed(request.seconds, _now())
        try:
            return await self._rounds(request)(self._round, request)
        except APIConnectionError:
            if not request.answers:
                raise
            # an answer that lacks speech is better than none
            return self._accept(request.answers[0], request)
        finally:
            self._recover(request)

    async def aclose(self) -> None:
        """Stop recoveries, within `CLOSE_TIMEOUT` whatever a provider does."""
        for task in (tasks := list(self._recovering.values())):
            task.cancel()
        if tasks:
            _, alive = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
            for task in alive:
                logger.error(f"provider cannot be stopped: {task.get_name()}", task=task.get_name())

    # -- rounds

    def _rounds(self, request: _Request) -> tenacity.AsyncRetrying:
        retry = self._runtime.policies.retry

        def wait(state: tenacity.RetryCallState) -> float:
            return max(self._runtime.backoff(state.attempt_number), min(request.pauses))

        def stop(state: tenacity.RetryCallState) -> bool:
            # tenacity's own stop strategies read a clock that is not the loop's
            if request.deadline is None:
                request.deadline = _now() + retry.outage_limit
            too_late = _now() + state.upcoming_sleep >= request.deadline
            return too_late or state.attempt_number > retry.reconnect_budget

        return tenacity.AsyncRetrying(
            sleep=asyncio.sleep,
            wait=wait,
            stop=stop,
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )

    async def _round(self, request: _Request) -> stt.SpeechEvent:
        """Ask each provider once, until an answer is believed.

        Raises:
            APIConnectionError: no answer was; retryable if a later round may bring one.
        """
        request.pauses.clear()
        without_session = 0
        first_round = request.deadline is None
        for provider in (candidates := request.selector.buffer_candidates(_now())):
            timeout = request.remaining()
            if not first_round and timeout <= 0:
                break
            if first_round:
                request.asked.append(provider.name)
            if not self._can_answer(provider, request):
                return join_finals([], request.language_for(provider))
            try:
                role = Role.HEDGE if request.answers else Role.ACTIVE
                answer = await self._attempt(provider, request, timeout, role)
            except Exception as error:
                without_session += lacks_http_session(error)
                if without_session == len(candidates):
                    raise no_http_session() from None
                failure = classify_for(error, request.language_for(provider) or "")
                self._record_failure(provider.name, failure, request)
            else:
                request.answers.append(answer)
                best = coverage.best_answer([a.missing for a in request.answers])
                if best is not None:
                    return self._accept(request.answers[best], request)
                request.pauses.append(0.0)  # the provider itself may be asked for a second answer
        reasons = request.selector.why_failed()
        message = f"all STTs failed ({', '.join(request.asked)}); {reasons}"
        # The providers' own exceptions may carry keys, so the cause is one of ours.
        cause = APIConnectionError(reasons, retryable=False)
        raise APIConnectionError(message, retryable=bool(request.pauses)) from cause

    def _can_answer(self, provider: ProviderTraits, request: _Request) -> bool:
        """Whether asking makes sense: for an empty stream a plugin may not even connect."""
        return request.seconds > 0 or self._recognizes_buffers(provider)

    def _recognizes_buffers(self, provider: ProviderTraits) -> bool:
        return self._runtime.providers[provider.name].capabilities.offline_recognize

    async def _attempt(
        self, provider: ProviderTraits, request: _Request, timeout: float, role: Role
    ) -> _Answer:
        name, plugin = provider.name, self._runtime.providers[provider.name]
        language = request.language_for(provider)
        options = APIConnectOptions(max_retry=0, timeout=timeout)
        tag = current.set(UsageTag(name, role))
        try:
            # Plugins apply `timeout` to connecting only. A stream is sent the buffer no slower than
            # in real time, and recognizers keep up with that, so its length is added.
            async with asyncio.timeout(timeout + request.seconds):
                if self._recognizes_buffers(provider):
                    event = await plugin.recognize(
                        request.buffer, language=language, conn_options=options
                    )
                    finals = [event]
                else:
                    finals = await recognize_by_streaming(
                        plugin,
                        request.frames,
                        provider.pace,
                        language,
                        options,
                        self._runtime.policies.watchdog,
                    )
                    event = join_finals(finals, language)
        finally:
            current.reset(tag)
        missing = await self._missing_speech(finals, request)
        with self._runtime.health_lock:
            changes = request.selector.mark_working(name, _now())
        self._report_availability(changes)
        return _Answer(name, event, missing)

    async def _missing_speech(self, finals: list[stt.SpeechEvent], request: _Request) -> float:
        """Seconds of detected speech that the finals do not cover.

        0 where a second answer may not be asked for: hedging is off, or its budget is spent. Also 0
        without voice activity, or with a detector that failed, which costs the buffer its check and
        nothing else.
        """
        policies = self._runtime.policies
        if not (policies.watchdog.hedging and self._runtime.hedge_budget.allows(_now())):
            return 0.0
        if request.voice is None:
            request.voice = await self._detect_voice(request.frames)
        events = [normalize(event) for event in finals]
        return coverage.missing_speech(request.voice, events, request.seconds, policies.replay)

    async def _detect_voice(self, frames: list[rtc.AudioFrame]) -> list[coverage.Stretch]:
        detector = self._runtime.new_detector()
        if detector is None:
            return []
        spans = await voice_spans(frames, detector)
        if detector.failure is not None:
            self._runtime.report_detector_failure(detector.failure)
            return []
        return spans

    def _accept(self, answer: _Answer, request: _Request) -> stt.SpeechEvent:
        """Return an answer; the providers that missed speech which it contains have failed."""
        worse = [other for other in request.answers if other.missing > answer.missing]
        for other in worse:
            detail = f"{other.missing:.1f} s of speech missing"
            self._record_failure(other.provider, Failure(ErrorKind.STALLED, detail), request)
        if len(request.answers) > 1 and not worse:
            # the second answer changed nothing, so its audio counts against the budget
            self._runtime.hedge_budget.record_hedged(request.seconds, _now())
        self._runtime.last_served = answer.provider
        return answer.event

    # -- failures

    def _record_failure(self, name: str, failure: Failure, request: _Request) -> None:
        selector = request.selector
        with self._runtime.health_lock:
            if failure.refused_language:
                unreported = selector.record_refused_language(
                    name, failure.refused_language, _now()
                )
            else:
                unreported = selector.record_failure(
                    name,
                    failure.kind,
                    failure.retry_after,
                    _now(),
                    detail=failure.detail,
                    status=failure.status,
                )
        if not selector.is_rejected(name):
            request.pauses.append(failure.retry_after or 0.0)
        alike = (name, failure.kind, failure.detail)
        if unreported and alike not in request.reported:
            self._runtime.report_failure(name, failure)
        request.reported.add(alike)
        if not failure.refused_language:
            self._report_availability(selector.mark_unavailable(name))

    def _report_availability(self, changes: list[ReportAvailability]) -> None:
        for change in changes:
            self._runtime.report_availability(change.provider, change.available)

    # -- recovery

    def _recover(self, request: _Request) -> None:
        """Find out in the background when failed providers are back, as `FallbackAdapter` does."""
        for provider in request.selector.recovery_candidates(_now()):
            task = self._recovering.get(provider.name)
            busy = task is not None and not task.done()
            if not busy and self._can_answer(provider, request):
                self._recovering[provider.name] = asyncio.create_task(
                    self._try_again(provider, request),
                    name=f"resilient_stt.recover-{provider.name}",
                )

    async def _try_again(self, provider: ProviderTraits, request: _Request) -> None:
        breaker = self._runtime.health[provider.name].breaker
        for attempt in range(self._runtime.policies.retry.recovery_attempts):
            await asyncio.sleep(self._runtime.backoff(attempt))
            if not breaker.admits(_now()):
                return
            try:
                await self._attempt(provider, request, request.timeout, Role.PROBE)
            except Exception as error:
                # not reported, so the selector must not note it as reported either
                failure = classify(error)
                with self._runtime.health_lock:
                    breaker.record_failure(failure.kind, _now(), failure.retry_after)
            else:
                return


def _now() -> float:
    return asyncio.get_running_loop().time()


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, APIConnectionError) and error.retryable
