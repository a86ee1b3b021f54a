"""What a stream that gave up leaves: which audio, and where the next stream begins with it."""

from __future__ import annotations

import pytest

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import AudioLost, ErrorKind
from resilient_stt.core.handover import Handover
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.messages import (
    AudioPushed,
    Command,
    ConnectionFailed,
    DeadlineReached,
    Emit,
    EventKind,
    GiveUp,
    Input,
    InputEnded,
    OpenConnection,
    ProviderEvent,
    ReleaseAudio,
    ReportEvent,
    SendAudio,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
    VoiceActivityLost,
    Word,
)
from resilient_stt.core.policy import Policies, ProviderTraits, ReplayPolicy, RetryPolicy

from ..support.simulator import RATE, routing

LIMIT = 4.0


class Calls:
    """Engines on one provider, one after the other, on one clock."""

    def __init__(self, window: float = 10.0, *, vad_enabled: bool = True) -> None:
        self.policies = Policies(
            replay=ReplayPolicy(handover_window=window), retry=RetryPolicy(outage_limit=LIMIT)
        )
        self.vad_enabled = vad_enabled
        self.now = 0.0
        self.commands: list[Command] = []
        self.engine = self.open()

    def open(self, handover: Handover | None = None) -> FailoverEngine:
        self.engine = FailoverEngine(
            routing([ProviderTraits(name="a")]),
            {"a": ProviderHealth(Breaker(self.policies.breaker))},
            self.policies,
            HedgeBudget(),
            vad_enabled=self.vad_enabled,
            handover=handover,
        )
        self.give(StreamOpened())
        return self.engine

    def give(self, message: Input) -> list[Command]:
        commands = self.engine.handle(message, self.now)
        self.commands += commands
        for command in commands:
            if isinstance(command, OpenConnection) and self.fails:
                self.give(ConnectionFailed(command.connection, ErrorKind.CONNECT))
        return commands

    fails = False

    def push(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.give(AudioPushed(RATE // 10, RATE))
            while (at := self.engine.deadline()) is not None and at <= self.now:
                self.give(DeadlineReached(0.5))

    def say(self, *words: Word) -> None:
        """Let the first connection give a FINAL."""
        text = " ".join(word.text for word in words)
        event = TranscriptEvent(EventKind.FINAL, text, words, words[0].start, words[-1].end)
        self.give(ProviderEvent(0, event))

    def drop(self) -> None:
        self.fails = True
        self.give(ConnectionFailed(0, ErrorKind.DROPPED))

    def lost(self) -> float:
        events = [c.event for c in self.commands if isinstance(c, ReportEvent)]
        return sum(e.seconds for e in events if isinstance(e, AudioLost))

    @property
    def gave_up(self) -> bool:
        return isinstance(self.commands[-1], GiveUp)


def started(at: float) -> SpeechStarted:
    return SpeechStarted(round(at * RATE))


def ended(at: float) -> SpeechEnded:
    return SpeechEnded(round(at * RATE))


def speech_in_an_outage(calls: Calls) -> None:
    """Voice from 0.5 s to the end, of which "one two" is final, until the engine gives up."""
    calls.push(0.6)
    calls.give(started(0.5))
    calls.push(2.0)
    calls.say(Word("one", 0.6, 0.9), Word("two", 1.1, 1.4))
    calls.drop()
    while not calls.gave_up:
        calls.push(0.1)


def test_the_next_engine_begins_between_two_words() -> None:
    """It replays from before a committed word, which it removes, with what was pending behind."""
    calls = Calls()
    speech_in_an_outage(calls)
    end = calls.engine.handover.ledger.end
    calls.fails = False
    calls.commands.clear()
    calls.open(calls.engine.handover)
    (opened,) = [c for c in calls.commands if isinstance(c, OpenConnection)]
    assert 0.4 * RATE <= opened.start <= 0.6 * RATE
    sent = [c for c in calls.commands if isinstance(c, SendAudio)]
    assert sent[0].start == opened.start
    assert opened.start + 5 * RATE <= sent[-1].end <= end  # a burst, then at its pace
    lead = opened.start / RATE
    spoken = ("one", 0.6, 0.9), ("two", 1.1, 1.4), ("three", 1.6, 2.0)
    words = tuple(Word(text, start - lead, end - lead) for text, start, end in spoken)
    calls.say(*words)
    assert [c.text for c in calls.commands if isinstance(c, Emit) and c.text] == ["three"]
    assert next(c.kind for c in calls.commands if isinstance(c, Emit)) is EventKind.START
    assert not calls.lost()


def test_released_audio_is_not_needed() -> None:
    """The shell keeps frames up to the start of the ledger only."""
    calls = Calls()
    speech_in_an_outage(calls)
    released = [c.before for c in calls.commands if isinstance(c, ReleaseAudio)]
    assert released[-1] == calls.engine.handover.ledger.start


@pytest.mark.parametrize("window", [0.0, 0.5, 1.0, 1.7, 2.0, 3.3, 4.5, 9.0])
def test_what_is_too_old_is_lost_and_the_rest_is_not(window: float) -> None:
    """Lost and pending voice are together all that was said behind the last word."""
    calls = Calls(window)
    speech_in_an_outage(calls)
    handover = calls.engine.handover
    silent_since = handover.ledger.end / RATE
    assert calls.lost() + handover.pending_seconds == pytest.approx(
        silent_since - 1.4,
        abs=0.11 if not window else 0.001,  # 0.1 s of voice is no word
    )
    least = min(window, silent_since - 1.4)
    # A cut within speech moves to where the speech began, if that is near.
    assert least - 0.21 <= handover.pending_seconds <= least + (1.25 if window > 4 else 0.21)


def test_it_gets_too_old_while_no_stream_comes() -> None:
    """The next engine reports what has become too old by the time that it is opened."""
    calls = Calls(window=6.0)
    speech_in_an_outage(calls)
    pending = calls.engine.handover.pending_seconds
    before = calls.lost()
    assert calls.engine.handover.expires_at == pytest.approx(calls.now + 6.0, abs=0.2)
    calls.fails, calls.now = False, calls.now + 3.0
    calls.open(calls.engine.handover)
    assert calls.lost() - before + calls.engine.handover.pending_seconds == pytest.approx(pending)
    assert calls.engine.handover.pending_seconds == pytest.approx(3.0, abs=0.21)


def test_a_cut_goes_through_a_pause_if_one_is_near() -> None:
    """No stretch of speech is cut that began a moment before, or ends a moment later."""
    for said, window in ((0.5, 3.0), (3.0, 1.0)):
        calls = Calls(window)
        calls.drop()
        calls.push(1.0)
        calls.give(started(0.9))
        calls.push(1.0)
        calls.give(ended(1.9))
        calls.push(0.5)
        calls.give(started(2.4))
        calls.push(said)
        calls.give(ended(2.4 + said))
        calls.push(LIMIT)
        cut = calls.engine.handover.ledger.watermark / RATE
        assert not any(a < cut < b for a, b in ((0.9, 1.9), (2.4, 2.4 + said)))


def test_audio_that_comes_after_the_end() -> None:
    """Until the caller knows that the stream gave up, it pushes on; that is taken over as well."""
    calls = Calls()
    speech_in_an_outage(calls)
    before = calls.engine.handover.pending_seconds
    calls.push(1.0)
    calls.give(ended(7.5))
    assert calls.engine.handover.pending_seconds - before == pytest.approx(0.8, abs=0.05)
    calls.push(1.0)
    calls.give(started(8.4))
    calls.give(VoiceActivityLost())
    calls.give(InputEnded())
    assert not calls.engine.handover.ledger.vad_enabled
    assert isinstance(calls.commands[-1], GiveUp)
    assert calls.engine.deadline() is None


def test_nothing_is_left_after_the_end_of_the_input() -> None:
    """Everything that is pending then is lost with the stream."""
    calls = Calls()
    calls.push(0.6)
    calls.give(started(0.5))
    calls.drop()
    calls.push(2.0)
    calls.give(ended(2.5))
    calls.give(InputEnded())
    while (at := calls.engine.deadline()) is not None:
        calls.now = at
        calls.give(DeadlineReached(0.5))
    assert calls.gave_up
    assert calls.lost() == pytest.approx(2.0)
    assert calls.engine.handover.pending_seconds == 0


def test_a_short_remainder_is_no_speech() -> None:
    """Voice that is too short for a word is neither taken over nor lost."""
    calls = Calls()
    calls.push(0.6)
    calls.give(started(0.5))
    calls.push(1.0)
    calls.say(Word("one", 0.6, 1.4))
    calls.give(ended(1.5))
    calls.drop()
    calls.push(LIMIT + 0.5)
    assert calls.gave_up
    assert calls.engine.handover.pending_seconds == calls.lost() == 0


def test_without_voice_activity_all_audio_is_pending() -> None:
    """Any of it may be speech."""
    calls = Calls(vad_enabled=False)
    calls.drop()
    calls.push(LIMIT + 0.5)
    handover = calls.engine.handover
    assert handover.pending_seconds == pytest.approx(handover.ledger.end / RATE)
    assert "Handover(" in repr(handover)
