from __future__ import annotations

import itertools

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.connections.sender import AudioSender
from resilient_stt.core.events import Role
from resilient_stt.core.health.latency import FinalLatency
from resilient_stt.core.messages import EndInput, FlushConnection, SendAudio, SendSilence
from resilient_stt.core.policy import ProviderTraits, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.detector import StallDetector

from ...support.connections import POLICY, RATE, a_connection, expected, ledger_of, opened


def spans(
    connection: Connection, ledger: AudioLedger, now: float = 10.0
) -> list[tuple[float, float]]:
    return [
        (c.start / RATE, c.end / RATE)
        for c in connection.sender.send(ledger, now)
        if isinstance(c, SendAudio)
    ]


def test_a_replay_is_sent_at_its_pace() -> None:
    """A replay is sent the burst at once, then at a multiple of real time, in small pieces."""
    ledger = ledger_of(8.0, (0.0, 8.0))
    connection = a_connection(ledger)
    assert spans(connection, ledger)[-1][1] == 5.0
    assert connection.sender.next_send_at(ledger) == pytest.approx(10.025)
    assert spans(connection, ledger, 10.02) == []
    assert spans(connection, ledger, 11.0)[-1][1] == 7.0
    assert spans(connection, ledger, 20.0)[-1][1] == 8.0
    assert connection.sender.next_send_at(ledger) is None
    assert (connection.seconds_sent, connection.sender.silence_trimmed) == (8.0, 0.0)


def test_a_replay_is_sent_in_pieces_that_any_service_takes() -> None:
    """The pieces of a replay are 0.2 s long; a live frame is sent whole."""
    ledger = ledger_of(4.0, vad_enabled=False)
    connection = a_connection(ledger)
    assert {round(end - start, 2) for start, end in spans(connection, ledger)} == {0.2}
    connection.sender.caught_up = True
    ledger.push(RATE // 2, RATE)
    assert spans(connection, ledger) == [(4.0, 4.5)]


def test_policies_say_how_a_replay_is_cut_and_processed() -> None:
    """Pieces have the length of `max_chunk`, and are processed at `min_processing_rate`."""
    ledger, provider = ledger_of(4.0, vad_enabled=False), ProviderTraits(name="a")
    watchdog = WatchdogPolicy(min_processing_rate=2.0)
    sender = AudioSender(
        0,
        provider,
        StallDetector(provider, FinalLatency(watchdog.min_latency_samples), watchdog, 0),
        ReplayPolicy(max_chunk=0.1),
        ledger,
        0,
        10.0,
        asks_at_pauses=False,
        flush_at_pauses=False,
    )
    pieces = [c for c in sender.send(ledger, 10.0) if isinstance(c, SendAudio)]
    assert {piece.end - piece.start for piece in pieces} == {RATE // 10}
    assert sender.backlog(10.0) == pytest.approx(2.0)
    assert sender.processed_through(ledger, 11.0) == 2 * RATE


def test_a_replay_of_hardly_any_samples_goes_on() -> None:
    """A piece holds at least one sample, however low the sample rate."""
    ledger = AudioLedger(POLICY, vad_enabled=False)
    ledger.push(4, 1)
    connection = a_connection(ledger)
    assert [
        (c.start, c.end) for c in connection.sender.send(ledger, 10.0) if isinstance(c, SendAudio)
    ][-1] == (
        3,
        4,
    )


def test_backlog() -> None:
    """Audio that was sent faster than the provider processes it counts as backlog."""
    ledger = ledger_of(4.0, (0.0, 4.0))
    connection = a_connection(ledger)
    assert (
        connection.backlog(10.0)
        == connection.seconds_sent
        == connection.sender.silence_trimmed
        == 0.0
    )
    connection.sender.send(ledger, 10.0)
    assert connection.backlog(11.0) == pytest.approx(4.0 / 1.25 - 1.0)
    assert connection.backlog(15.0) == 0.0


def test_silence_is_cut_only_in_a_replay() -> None:
    """Long silence is left out until a connection has caught up, and never after."""
    ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
    connection = a_connection(ledger)
    sent = spans(connection, ledger)
    gaps = [(a[1], b[0]) for a, b in itertools.pairwise(sent) if a[1] != b[0]]
    assert sent[0][0] == 0.85
    assert gaps == [(2.15, 3.85), (5.15, 5.5)]
    assert connection.sender.silence_trimmed == pytest.approx(2.05)
    connection.sender.caught_up = True
    ledger.push(3 * RATE, RATE)
    assert spans(connection, ledger) == [(6.0, 7.9)]


def test_flushes_are_sent_at_their_places() -> None:
    """A flush divides the audio before it from the audio after it, once."""
    ledger = ledger_of(1.0, (0.0, 1.0))
    ledger.add_flush()
    ledger.push(RATE, RATE)
    connection = a_connection(ledger)
    commands = connection.sender.send(ledger, 10.0)
    at = commands.index(FlushConnection(0))
    assert commands.count(FlushConnection(0)) == 1
    assert commands[at - 1] == SendAudio(0, 80, 100)
    assert commands[at + 1] == SendAudio(0, 100, 115)  # where silence is left out


def test_a_flush_in_silence_that_is_cut() -> None:
    """A flush is sent also where the silence around it is left out."""
    ledger = ledger_of(3.0, (0.0, 1.0))
    ledger.add_flush()
    ledger.push(3 * RATE, RATE)
    connection = a_connection(ledger)
    commands = connection.sender.send(ledger, 10.0)
    assert commands[commands.index(FlushConnection(0)) - 1] == SendAudio(0, 100, 115)


def test_committed_flushes_are_not_repeated() -> None:
    """A flush whose audio is committed is not sent to a new connection."""
    ledger = ledger_of(2.0, (0.0, 1.9))
    ledger.add_flush()
    ledger.push(RATE, RATE)
    ledger.commit(2 * RATE)
    assert FlushConnection(0) not in a_connection(ledger).sender.send(ledger, 10.0)


@pytest.mark.parametrize("late", [True, False])
def test_a_late_finalizer_is_flushed_where_speech_ends(late: bool) -> None:
    """A provider with slow endpointing is flushed once at each end of pending speech."""
    ledger = ledger_of(6.0, (1.0, 2.0), (2.1, 3.0), (4.0, 4.2), (4.5, 5.0))
    connection = a_connection(ledger, flush_at_pauses=late)
    commands = connection.sender.send(ledger, 10.0)
    before = [commands[i - 1] for i, c in enumerate(commands) if isinstance(c, FlushConnection)]
    ends = [c.end / RATE for c in before if isinstance(c, SendAudio)]
    assert ends == ([2.1, 3.15, 5.15] if late else [])
    assert expected(connection) == ([(2.1, True), (3.15, True), (5.15, True)] if late else [])
    assert connection.sender.send(ledger, 20.0) == []


def test_a_final_is_expected_where_live_speech_ends() -> None:
    """A final is expected at each end of speech once a connection has caught up.

    In a replay none is: its pauses are trimmed too short for the provider to notice.
    """
    for caught_up in (True, False):
        ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
        connection = a_connection(ledger)
        connection.sender.caught_up = caught_up
        for now in (10.0, 20.0):
            connection.sender.send(ledger, now)
        assert expected(connection) == ([(2.15, False), (5.15, False)] if caught_up else [])


def test_a_probe_is_not_flushed_where_speech_ends() -> None:
    """The sender does not flush a probe: `Probe` does, for its one final."""
    ledger = ledger_of(6.0, (1.0, 2.0))
    provider = ProviderTraits(name="a", manual_flush=True)
    connection = opened(provider, ledger, Role.PROBE, flush_at_pauses=True)
    assert FlushConnection(0) not in connection.sender.send(ledger, 10.0)
    assert expected(connection) == []


def test_only_a_provider_that_answers_flushes_is_flushed() -> None:
    """Another one passes the mark, is sent all audio behind it, and is expected no final."""
    for flushes in (True, False):
        ledger = ledger_of(2.0)
        ledger.speech_started(0)
        ledger.add_flush()
        connection = opened(ProviderTraits(name="a", manual_flush=flushes), ledger)
        assert (FlushConnection(0) in connection.sender.send(ledger, 10.0)) is flushes
        assert expected(connection) == ([(2.0, True)] if flushes else [])
        assert connection.sender.flushed_through == connection.cursor == 2 * RATE


def test_a_final_is_expected_after_the_end_of_input() -> None:
    """After the end of its input, a connection is expected to send a final for all its audio."""
    ledger = ledger_of(2.0)
    ledger.speech_started(0)
    connection = a_connection(ledger)
    connection.sender.send(ledger, 10.0)
    assert connection.sender.ask_for_last_final(ledger, 10.0, 0.0) == EndInput(0)
    assert connection.input_ended_at == 10.0
    assert expected(connection) == [(2.0, True)]


def test_silence_behind_the_audio_is_paid_for_too() -> None:
    """A provider that finalizes only in silence is sent some, and its bill says so."""
    ledger = ledger_of(2.0, (0.5, 1.5))
    connection = a_connection(ledger)
    connection.sender.send(ledger, 10.0)
    before = connection.sender.samples_sent
    silence = connection.sender.ask_for_last_final(ledger, 10.0, 1.5)
    assert silence == SendSilence(0, 1.5)
    assert connection.sender.samples_sent == before + 1.5 * RATE
    assert connection.seconds_sent == before / RATE


def test_audio_that_left_the_window_is_not_sent() -> None:
    """A connection whose next audio has left the window continues with the oldest that is kept."""
    ledger = ledger_of(1.0, (0.0, 1.0))
    connection = a_connection(ledger)
    connection.sender.send(ledger, 10.0)
    ledger.push(21 * RATE, RATE)
    connection.sender.caught_up = True
    assert spans(connection, ledger) == [(2.0, 6.0)]
