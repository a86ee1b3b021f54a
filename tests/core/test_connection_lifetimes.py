"""Connections that are closed or opened anew although nothing has failed, in every role."""

from __future__ import annotations

import pytest

from resilient_stt.core.events import ErrorKind, ProviderFailed, Role
from resilient_stt.core.messages import (
    AudioPushed,
    AudioQueued,
    AudioTaken,
    AudioUntaken,
    CloseConnection,
    Command,
    ConnectionEnded,
    ConnectionFailed,
    DeadlineReached,
    Emit,
    EventKind,
    Finish,
    Input,
    InputEnded,
    LanguageChanged,
    OpenConnection,
    OptionsChanged,
    PluginReconnected,
    ProviderEvent,
    ReportAvailability,
    ReportEvent,
    SetServing,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
    Word,
)
from resilient_stt.core.policy import Policies, RetryPolicy

from ..support.promises import alone
from ..support.simulator import RATE


class Call:
    """An engine with its clock, and the connections that it has open."""

    def __init__(self, providers: int = 2, *, vad_enabled: bool = True) -> None:
        self.engine = alone(providers, vad_enabled=vad_enabled)
        self.now = 0.0
        self.open: dict[int, OpenConnection] = {}
        self.commands: list[Command] = []
        self.send(StreamOpened())

    def send(self, message: Input) -> list[Command]:
        commands = self.engine.handle(message, self.now)
        for command in commands:
            if isinstance(command, OpenConnection):
                self.open[command.connection] = command
            elif isinstance(command, CloseConnection):
                del self.open[command.connection]
        self.commands += commands
        return commands

    def go_on(self, seconds: float) -> None:
        """Push silence, in real time."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.send(AudioPushed(RATE // 10, RATE))

    def speak(self, seconds: float) -> None:
        self.send(SpeechStarted(round(self.now * RATE)))
        self.go_on(seconds)
        self.send(SpeechEnded(round(self.now * RATE)))

    def connection(self, role: Role) -> int:
        (found,) = [c for c, order in self.open.items() if order.role is role]
        return found

    @property
    def failures(self) -> list[ProviderFailed]:
        reports = [c.event for c in self.commands if isinstance(c, ReportEvent)]
        return [event for event in reports if isinstance(event, ProviderFailed)]


def with_hedge() -> Call:
    """A call whose provider has not answered speech, so that another one is asked."""
    call = Call()
    call.speak(1.0)
    while not any(order.role is Role.HEDGE for order in call.open.values()):
        call.go_on(0.1)
    return call


def with_probe() -> Call:
    """A call whose preferred provider was limited, and is probed with the next utterance."""
    call = Call()
    call.send(ConnectionFailed(0, ErrorKind.RATE_LIMITED, retry_after=1.0))
    call.go_on(3.0)
    call.speak(0.5)
    return call


def with_reconnect() -> Call:
    """A call in an outage, whose only provider is tried again."""
    call = Call(1)
    call.speak(0.5)
    call.send(ConnectionFailed(0, ErrorKind.SERVER, backoff=0.1))
    while not any(order.role is Role.RECONNECT for order in call.open.values()):
        call.go_on(0.1)
    return call


CALLS = {Role.HEDGE: with_hedge, Role.RECONNECT: with_reconnect}


@pytest.mark.parametrize("role", CALLS)
@pytest.mark.parametrize("ours", [True, False])
def test_opened_anew(role: Role, ours: bool) -> None:
    """Options change, or the plugin reconnects: another connection in the same role, no failure."""
    call = CALLS[role]()
    before, failed = call.connection(role), len(call.failures)
    provider = call.open[before].provider
    call.send(OptionsChanged(provider) if ours else PluginReconnected(before))
    assert call.connection(role) != before
    assert len(call.failures) == failed


def test_reconnects_spend_the_budget() -> None:
    """A plugin that reconnects again and again has failed in the end."""
    call = with_hedge()
    for _ in range(RetryPolicy().reconnect_budget):
        call.send(PluginReconnected(call.connection(Role.HEDGE)))
    assert not call.failures
    call.send(PluginReconnected(call.connection(Role.HEDGE)))
    assert [event.detail for event in call.failures] == ["reconnected by itself"]


@pytest.mark.parametrize("message", [PluginReconnected, OptionsChanged])
def test_a_probe_ends_without_a_result(message: type) -> None:
    """It was to show one utterance from its start to its end."""
    call = with_probe()
    probe, failed = call.connection(Role.PROBE), len(call.failures)
    call.send(message(probe if message is PluginReconnected else call.open[probe].provider))
    assert probe not in call.open
    assert len(call.failures) == failed


def test_a_peer_that_stops_reading_is_left() -> None:
    """More than `max_queued_audio` waits for it; up to that it may only be slow."""
    call = Call()
    call.go_on(1.0)
    call.send(AudioQueued(0, RetryPolicy().max_queued_audio))
    assert 0 in call.open
    call.send(AudioQueued(0, RetryPolicy().max_queued_audio + 1))
    assert 0 not in call.open
    assert [event.detail for event in call.failures] == ["takes no more audio"]


def test_a_connection_that_does_not_connect_is_left() -> None:
    """A plugin that takes no audio by then sets itself no limit; one that takes some is connected,
    and so is one that has given text."""
    limit = Policies().connected_after
    for connects in ("no", "late", "text"):
        call = Call()
        call.go_on(limit - 0.1)
        call.send(AudioUntaken(0))
        assert 0 in call.open
        call.go_on(0.2)
        if connects == "text":
            call.send(ProviderEvent(0, TranscriptEvent(EventKind.FINAL)))
        call.send(AudioTaken(0) if connects == "late" else AudioUntaken(0))
        assert (0 in call.open) is (connects != "no")
        left = [(event.reason, event.detail) for event in call.failures]
        assert left == [(ErrorKind.CONNECT, "does not connect")] * (connects == "no")


def test_a_connection_that_does_not_connect_ends_no_outage() -> None:
    """Not even where nobody speaks, until its plugin takes audio."""

    def serves() -> list[int]:
        return [c.connection for c in call.commands if isinstance(c, SetServing)][1:]

    call = Call(1)
    call.send(ConnectionFailed(0, ErrorKind.CONNECT))
    call.go_on(1.0)
    attempts = [*call.open]
    for attempt in attempts:
        call.send(AudioUntaken(attempt))
    call.now += Policies().connected_after - 0.5
    call.send(DeadlineReached())
    assert not serves()
    call.send(AudioTaken(attempts[0]))
    call.now += 1.0
    call.send(DeadlineReached())
    assert serves() == [attempts[0]]


CLOSES = (
    ConnectionEnded(0),
    ConnectionFailed(0, ErrorKind.DROPPED, "1000", closed_normally=True),
)


@pytest.mark.parametrize("closed", CLOSES)
def test_an_idle_connection_is_opened_again_for_audio(closed: Input) -> None:
    """Not before there is audio, and not more often than the interval says."""
    call = Call()
    call.go_on(1.0)
    call.send(closed)
    assert not call.open
    call.go_on(RetryPolicy().idle_reopen_interval - 1.5)
    assert not call.open
    call.go_on(1.0)
    assert [order.provider for order in call.open.values()] == ["a"]
    assert not call.failures


def test_words_open_an_idle_connection_at_once() -> None:
    """Speech does not wait for the interval."""
    call = Call()
    call.send(ConnectionEnded(0))
    call.send(LanguageChanged("es"))
    call.speak(0.5)
    assert [order.provider for order in call.open.values()] == ["a"]
    assert not call.failures


def test_a_stream_without_a_connection_ends() -> None:
    """After an idle close nothing is opened for a caller who hangs up."""
    call = Call()
    call.go_on(1.0)
    call.send(ConnectionEnded(0))
    assert Finish() in call.send(InputEnded())
    assert not call.open


def test_what_was_pushed_before_the_end_is_sent() -> None:
    """Without local voice activity all audio may be words, so a connection is opened for it."""
    call = Call(1, vad_enabled=False)
    call.send(ConnectionEnded(0))
    call.go_on(1.0)
    assert not call.open
    call.send(InputEnded())
    assert [order.provider for order in call.open.values()] == ["a"]


def test_an_idle_probe_has_not_failed() -> None:
    """A probe that is closed when all words have come shows nothing."""
    call = with_probe()
    probe, failed = call.connection(Role.PROBE), len(call.failures)
    active = call.connection(Role.ACTIVE)
    end = call.now - call.open[active].start / RATE
    final = TranscriptEvent(EventKind.FINAL, "one", (Word("one", end - 0.5, end),), end - 0.5, end)
    call.send(ProviderEvent(active, final))
    call.go_on(0.3)
    assert probe in call.open
    call.send(ConnectionFailed(probe, ErrorKind.DROPPED, "1000", closed_normally=True))
    assert probe not in call.open
    assert len(call.failures) == failed


def test_an_attempt_that_is_closed_at_once() -> None:
    """In an outage without speech it is planned again, and not reported."""
    call = Call(1)
    while not any(order.role is Role.RECONNECT for order in call.open.values()):
        for connection in [*call.open]:
            call.send(ConnectionFailed(connection, ErrorKind.SERVER, backoff=0.1))
        call.now += 0.2
        call.send(DeadlineReached())
    reconnect, failed = call.connection(Role.RECONNECT), len(call.failures)
    call.send(ConnectionFailed(reconnect, ErrorKind.DROPPED, "1000", closed_normally=True))
    assert reconnect not in call.open
    assert len(call.failures) == failed


def test_a_close_in_the_middle_of_words_is_a_failure() -> None:
    """An interim transcript that no final follows says that more was to come."""
    call = Call()
    call.speak(0.5)
    call.send(ProviderEvent(0, TranscriptEvent(EventKind.INTERIM, "good")))
    call.send(ConnectionFailed(0, ErrorKind.DROPPED, "1000", closed_normally=True))
    assert [event.reason for event in call.failures] == [ErrorKind.DROPPED]


def test_a_close_while_another_provider_is_asked_is_a_failure() -> None:
    """Whether words are missing is just what is being asked."""
    call = with_hedge()
    active = call.connection(Role.ACTIVE)
    call.send(ConnectionFailed(active, ErrorKind.DROPPED, "1000", closed_normally=True))
    assert [event.provider for event in call.failures] == ["a"]


def test_a_timeout_after_the_end_is_an_end() -> None:
    """Where all words are told, the plugin has only lost patience; before the end, or for words
    that are missing, it is a failure."""
    timeout = ConnectionFailed(0, ErrorKind.CONNECT)
    final = ProviderEvent(0, TranscriptEvent(EventKind.FINAL, "a word", (), 0.0, 1.0))
    for told, ended in ((True, True), (False, True), (True, False)):
        call = Call()
        call.speak(1.0)
        call.send(final if told else ProviderEvent(0, TranscriptEvent(EventKind.FINAL)))
        call.go_on(1.0)
        if ended:
            call.send(InputEnded())
        call.send(timeout)
        assert (call.failures == []) is (told and ended)
        assert call.engine.done is (told and ended)


# -- what a connection that has worked says of connections that never do


@pytest.mark.parametrize("kind", [ErrorKind.BAD_REQUEST, ErrorKind.CONNECT])
def test_a_bad_request_after_work_is_a_drop(kind: ErrorKind) -> None:
    """A stream's limit is told as a bad request: the provider is opened again, and not unfit."""
    call = Call()
    call.speak(1.0)
    word = Word("yes", 0.2, 0.8)
    call.send(ProviderEvent(0, TranscriptEvent(EventKind.FINAL, "yes", (word,), 0.2, 0.8)))
    call.go_on(1.0)
    call.send(ConnectionFailed(0, kind, "APIStatusError 400", status=400))
    assert [failure.reason for failure in call.failures] == [ErrorKind.DROPPED]
    assert call.failures[0].detail == "APIStatusError 400"
    assert [order.provider for order in call.open.values()] == ["a"]


def test_a_bad_request_of_a_provider_that_worked_is_a_drop() -> None:
    """A new connection is refused with a bad request, though the same request was taken before."""
    call = Call()
    call.speak(1.0)
    word = Word("yes", 0.2, 0.8)
    call.send(ProviderEvent(0, TranscriptEvent(EventKind.FINAL, "yes", (word,), 0.2, 0.8)))
    call.go_on(1.0)
    call.send(ConnectionFailed(0, ErrorKind.DROPPED))
    (again,) = call.open
    call.send(ConnectionFailed(again, ErrorKind.BAD_REQUEST, "APIStatusError 400", status=400))
    assert [failure.reason for failure in call.failures] == [ErrorKind.DROPPED] * 2


def test_a_bad_request_after_a_long_silence_is_a_drop() -> None:
    """A stream ends after five minutes without speech, too."""
    call = Call()
    call.go_on(10.0)
    call.send(ConnectionFailed(0, ErrorKind.BAD_REQUEST))
    assert [order.provider for order in call.open.values()] == ["a"]


@pytest.mark.parametrize("kind", [ErrorKind.BAD_REQUEST, ErrorKind.CONNECT])
def test_a_connection_that_gave_nothing_makes_its_provider_unfit(kind: ErrorKind) -> None:
    """The request or the connection itself is refused, and the next provider is asked."""
    call = Call()
    call.speak(1.0)
    call.send(ConnectionFailed(0, kind))
    assert [failure.reason for failure in call.failures] == [kind]
    assert [order.provider for order in call.open.values()] == ["b"]


# -- refused because of another connection of ours


def refusal(connection: int, *, closing: bool = True) -> ConnectionFailed:
    return ConnectionFailed(
        connection, ErrorKind.RATE_LIMITED, backoff=0.1, status=429, other_closing=closing
    )


@pytest.mark.parametrize("vad_enabled", [True, False])
def test_a_refused_active_connection_is_tried_again(vad_enabled: bool) -> None:
    """After the interval, whether there is audio, words or the end of the input, and not before."""
    for then in (InputEnded(), DeadlineReached()):
        call = Call(vad_enabled=vad_enabled)
        call.speak(1.0) if vad_enabled else call.go_on(1.0)
        call.send(OptionsChanged("a"))
        call.send(refusal(call.connection(Role.ACTIVE)))
        assert not call.open
        call.send(then)
        assert not call.open
        deadline = call.engine.deadline()
        assert deadline is not None
        assert deadline == pytest.approx(call.now + RetryPolicy().session_retry_interval)
        call.now = deadline
        call.send(DeadlineReached())
        assert [order.provider for order in call.open.values()] == ["a"]
        assert not call.failures


def test_a_refused_connection_is_tried_again_in_silence() -> None:
    """It serves the stream, although nobody speaks."""
    call = Call()
    call.send(refusal(0))
    call.now += RetryPolicy().session_retry_interval
    call.send(DeadlineReached())
    assert [order.provider for order in call.open.values()] == ["a"]


def test_a_session_that_is_not_released_is_a_failure() -> None:
    """Refusals because of our own connection are bounded, and then the next provider serves."""
    call = Call()
    while not call.failures:
        for connection in [*call.open]:
            call.send(refusal(connection))
        call.go_on(0.1)
    assert call.now == pytest.approx(RetryPolicy().session_release_limit + 0.2, abs=0.3)
    assert [event.provider for event in call.failures] == ["a"]
    assert [order.provider for order in call.open.values()] == ["b"]


def test_refusals_of_a_provider_that_has_worked_since_begin_anew() -> None:
    """Each change of options has the whole time."""
    call = Call()
    call.send(refusal(0))
    call.go_on(RetryPolicy().session_release_limit + 0.5)
    call.send(ProviderEvent(call.connection(Role.ACTIVE), TranscriptEvent(EventKind.START)))
    call.send(OptionsChanged("a"))
    call.send(refusal(call.connection(Role.ACTIVE)))
    assert not call.failures
    assert "refused_since" in repr(call.engine._own_sessions)


@pytest.mark.parametrize(
    "message",
    [
        refusal(0, closing=False),
        ConnectionFailed(0, ErrorKind.SERVER, status=503, other_closing=True),
    ],
)
def test_another_failure_counts_at_once(message: ConnectionFailed) -> None:
    """A session of somebody else's, or another kind of failure, is not ours."""
    call = Call()
    call.send(message)
    assert len(call.failures) == 1


def test_a_connection_that_has_worked_is_not_refused() -> None:
    """It was let in, so that it has failed for another reason."""
    call = Call()
    call.speak(0.5)
    call.send(ProviderEvent(0, TranscriptEvent(EventKind.INTERIM, "good")))
    call.send(refusal(0))
    assert [event.reason for event in call.failures] == [ErrorKind.RATE_LIMITED]


def test_an_active_connection_that_is_refused_beside_a_hedge_is_left() -> None:
    """The hedge has the audio already."""
    call = with_hedge()
    call.send(refusal(call.connection(Role.ACTIVE)))
    assert [event.provider for event in call.failures] == ["a"]
    assert [order.provider for order in call.open.values()] == ["b"]


def test_a_refused_hedge_is_opened_again() -> None:
    """It is waited for: silence alone does not decide meanwhile."""
    call = with_hedge()
    hedge = call.connection(Role.HEDGE)
    call.send(refusal(hedge))
    assert [order.role for order in call.open.values()] == [Role.ACTIVE]
    call.go_on(RetryPolicy().session_retry_interval + 0.1)
    assert call.open[call.connection(Role.HEDGE)].provider == "b"
    assert not call.failures


def test_a_hedge_refused_because_of_the_active_connection() -> None:
    """A sole provider that takes one connection keeps it, and has not failed."""
    call = Call(1)
    call.speak(1.0)
    while not any(order.role is Role.HEDGE for order in call.open.values()):
        call.go_on(0.1)
    call.send(refusal(call.connection(Role.HEDGE), closing=False))
    assert [order.role for order in call.open.values()] == [Role.ACTIVE]
    assert not call.failures
    call.go_on(0.5)
    assert [order.role for order in call.open.values()] == [Role.ACTIVE]


def test_a_second_connection_is_refused_however_long() -> None:
    """While the first one is open, each refusal is because of it."""
    call = Call(1)
    call.speak(1.0)
    refused = 0
    for _ in range(600):
        for connection, order in [*call.open.items()]:
            if order.role is Role.HEDGE:
                call.send(refusal(connection, closing=False))
                refused += 1
        call.speak(0.3) if call.now % 5 < 0.3 else call.go_on(0.1)
    assert refused > 1
    assert not call.failures


def test_a_refused_hedge_while_a_final_is_held() -> None:
    """The final waits for the hedge that is opened again."""
    call = Call()
    call.send(SpeechStarted(0))
    call.go_on(3.0)
    early = [Word("one", 0.2, 0.5), Word("two", 0.6, 0.9)]
    late = (Word("nine", 2.5, 2.8),)
    said = TranscriptEvent(EventKind.INTERIM, "one two", tuple(early), 0.2, 0.9)
    call.send(ProviderEvent(0, said))
    call.send(ProviderEvent(0, TranscriptEvent(EventKind.FINAL, "nine", late, 2.5, 2.8)))
    finals = [c for c in call.commands if isinstance(c, Emit) and c.kind is EventKind.FINAL]
    assert not finals
    call.send(refusal(call.connection(Role.HEDGE)))
    assert call.engine.deadline() is not None
    call.go_on(RetryPolicy().session_retry_interval + 0.1)
    assert call.open[call.connection(Role.HEDGE)].provider == "b"
    finals = [c for c in call.commands if isinstance(c, Emit) and c.kind is EventKind.FINAL]
    assert not finals
    assert not call.failures


def test_the_end_of_a_call_waits_for_a_refused_hedge() -> None:
    """Words may be missing that only the hedge can tell."""
    call = Call()
    call.speak(1.0)
    call.send(InputEnded())
    call.send(ConnectionEnded(0))
    call.send(refusal(call.connection(Role.HEDGE)))
    assert not call.engine.done
    call.now += RetryPolicy().session_retry_interval
    call.send(DeadlineReached())
    assert call.open[call.connection(Role.HEDGE)].provider == "b"


def test_a_refused_second_connection_at_the_end_of_a_call() -> None:
    """It was the last one to ask, so that the call ends."""
    call = Call(1)
    call.speak(1.0)
    call.send(InputEnded())
    call.send(ConnectionEnded(0))
    call.send(refusal(call.connection(Role.HEDGE)))
    for _ in range(100):
        if call.engine.done:
            break
        for connection, order in [*call.open.items()]:
            if order.role is Role.HEDGE:
                call.send(refusal(connection))
        call.now = call.engine.deadline() or call.now
        call.send(DeadlineReached())
        for connection in [*call.open]:
            call.send(ConnectionEnded(connection))
    assert call.engine.done


def test_a_refused_probe_ends_without_a_result() -> None:
    """The next utterance is another chance."""
    call = with_probe()
    probe, failed = call.connection(Role.PROBE), len(call.failures)
    call.send(refusal(probe))
    assert probe not in call.open
    assert len(call.failures) == failed


def test_a_refused_attempt_in_an_outage_is_planned_again() -> None:
    """It is not reported."""
    call = with_reconnect()
    attempt, failed = call.connection(Role.RECONNECT), len(call.failures)
    call.send(refusal(attempt))
    call.go_on(1.0)
    assert attempt not in call.open
    assert len(call.failures) == failed
    assert {order.role for order in call.open.values()} == {Role.RECONNECT}


def test_a_language_that_is_refused_is_a_mistake_of_the_user() -> None:
    """The provider is available as before; what is reported says what to do."""
    call = Call()
    call.send(ConnectionFailed(0, ErrorKind.BAD_REQUEST, refused_language="hi"))
    assert [order.provider for order in call.open.values()] == ["b"]
    (failure,) = call.failures
    assert failure.advice == "leave a out of the route of hi, or give it another tag"
    assert not [c for c in call.commands if isinstance(c, ReportAvailability)]


# -- a final that a dying connection made up


def test_a_made_up_final_that_nobody_replaces_comes_last() -> None:
    """The voice is taken for noise by others, and the call ends well: its words come after all."""
    call = Call()
    call.engine._emitter._health["a"].finalizes_when_dropped = True
    call.send(SpeechStarted(0))
    call.go_on(1.0)
    for kind in (EventKind.INTERIM, EventKind.FINAL):
        call.send(ProviderEvent(0, TranscriptEvent(kind, "half a")))
    call.send(ConnectionFailed(0, ErrorKind.DROPPED))
    assert not finals(call)
    call.go_on(1.0)
    call.send(SpeechEnded(round(call.now * RATE)))
    call.engine._ledger.commit(call.engine._ledger.end)  # as a hedge without words does
    call.send(InputEnded())
    (active,) = call.open
    commands = call.send(ConnectionEnded(active))
    assert isinstance(commands[-1], Finish)
    assert finals(call) == ["half a"]


def finals(call: Call) -> list[str]:
    """The texts that were emitted as FINAL."""
    emitted = [c for c in call.commands if isinstance(c, Emit)]
    return [emit.text for emit in emitted if emit.kind is EventKind.FINAL]
