from __future__ import annotations

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.connections.interpreter import Interpreted
from resilient_stt.core.messages import EventKind, TranscriptEvent, Word
from resilient_stt.core.policy import Pace, ProviderTraits

from ...support.connections import RATE, a_connection, ledger_of, opened

FINAL, INTERIM = EventKind.FINAL, EventKind.INTERIM


def connected(ledger: AudioLedger, sent: float) -> Connection:
    """Return a connection that was sent so many seconds from the start on, without cuts."""
    connection = a_connection(ledger, burst=100.0)
    connection.sender.caught_up = True
    send(connection, ledger, sent)
    return connection


def send(connection: Connection, ledger: AudioLedger, sent: float) -> None:
    """Send what is missing of so many seconds, as fast as it is spoken."""
    whole = ledger.end
    for ledger.end in range(connection.cursor, round(sent * RATE) + 1, RATE // 10):
        connection.sender.send(ledger, 100.0 + ledger.end / RATE)
    ledger.end = whole


def told(
    connection: Connection,
    ledger: AudioLedger,
    start: float,
    end: float,
    text: str = "one two three",
    kind: EventKind = FINAL,
    *,
    words: bool = True,
) -> Interpreted:
    """Interpret an event whose words share the time evenly."""
    pieces = text.split()
    step = (end - start) / len(pieces)
    timed = tuple(
        Word(piece, start + n * step, start + (n + 1) * step) for n, piece in enumerate(pieces)
    )
    event = TranscriptEvent(kind, text, timed if words else (), start, end)
    return connection.interpret(event, 100.0 + connection.cursor / RATE)


@pytest.mark.parametrize("words", [True, False])
def test_times_of_each_utterance(words: bool) -> None:
    """Times that go back, but take as long as the voice since, are those of the utterance."""
    ledger = ledger_of(16.0, (1.0, 4.0), (6.0, 8.5), (10.0, 13.0))
    connection = connected(ledger, 4.5)
    assert told(connection, ledger, 1.0, 3.9, words=words).utterance.end == pytest.approx(3.9)
    for sent, length in ((9.0, 2.5), (13.5, 3.0)):
        send(connection, ledger, sent)
        for kind in (INTERIM, FINAL):
            event = told(connection, ledger, 0.2, 0.2 + length, f"two {sent}", kind, words=words)
            assert not event.clock_restarted
            assert event.utterance.end is None


def test_an_utterance_that_comes_late() -> None:
    """The next one may have begun when the final of an utterance comes."""
    ledger = ledger_of(16.0, (1.0, 4.0), (6.0, 8.5), (9.5, 15.0))
    connection = connected(ledger, 4.3)
    told(connection, ledger, 1.0, 3.9)
    send(connection, ledger, 12.0)
    event = told(connection, ledger, 0.2, 2.6)
    assert (event.clock_restarted, event.utterance.end) == (False, None)


def test_a_start_that_is_none() -> None:
    """A final of few words cannot have begun before all the voice that there was: its start is the
    default of a plugin that knows none. What it skips may have been lost."""
    ledger = ledger_of(16.0, (1.0, 5.0), (6.0, 8.5))
    connection = connected(ledger, 9.0)
    event = told(connection, ledger, 0.0, 8.6, "yes please", words=False).utterance
    assert event.start is None
    assert event.end == pytest.approx(8.6)


def test_a_start_before_much_silence() -> None:
    """Silence before the words takes nothing away from a start, and slow speech is speech."""
    ledger = ledger_of(16.0, (6.8, 8.5))
    connection = connected(ledger, 9.0)
    event = told(connection, ledger, 0.0, 8.6, "yes please", words=False).utterance
    assert event.start == 0.0
    assert event.end == pytest.approx(8.6)


def test_the_same_word_in_the_next_utterance() -> None:
    """A final that repeats the last one was spoken again, if there is voice for it."""
    ledger = ledger_of(16.0, (0.3, 1.0), (6.0, 6.7))
    connection = connected(ledger, 1.5)
    told(connection, ledger, 0.2, 0.8, "yes")
    assert told(connection, ledger, 0.2, 0.8, "yes").is_duplicate
    send(connection, ledger, 7.2)
    assert not told(connection, ledger, 0.2, 0.8, "yes").is_duplicate


@pytest.mark.parametrize(
    ("start", "length", "sent"), [(0.1, 1.0, 9.0), (2.0, 1.5, 9.0), (0.1, 1.0, 5.0)]
)
@pytest.mark.parametrize("words", [True, False])
def test_a_clock_that_restarts(start: float, length: float, sent: float, words: bool) -> None:
    """Words that take less than the voice since the last final show that audio was lost."""
    ledger = ledger_of(16.0, (1.0, 5.5), (6.0, 8.5))
    connection = connected(ledger, 5.9)
    told(connection, ledger, 1.0, 5.4)
    send(connection, ledger, max(sent, 5.9))
    event = told(connection, ledger, start, start + length, "four five", words=words)
    assert event.clock_restarted


def test_a_clock_that_restarts_without_voice_activity() -> None:
    """Without voice activity nobody knows whether audio was lost."""
    ledger = ledger_of(16.0, vad_enabled=False)
    connection = connected(ledger, 6.0)
    told(connection, ledger, 1.0, 5.4)
    send(connection, ledger, 9.0)
    assert told(connection, ledger, 0.2, 2.7, "four five").clock_restarted


@pytest.mark.parametrize("text", ["one two three four five six", "no", "我们今天去公园散步好吗"])
def test_no_time_at_all(text: str) -> None:
    """A text that takes no time has no times, whatever they are."""
    ledger = ledger_of(8.0, (1.0, 4.0))
    assert told(connected(ledger, 5.0), ledger, 3.0, 3.0, text).utterance.end is None


def test_words_where_nobody_spoke() -> None:
    """Times in silence are wrong, if somebody spoke elsewhere; if not, the detector missed it."""
    ledger = ledger_of(12.0, (6.0, 9.0))
    assert told(connected(ledger, 10.0), ledger, 1.0, 4.0).utterance.end is None
    quiet = ledger_of(12.0)
    assert told(connected(quiet, 10.0), quiet, 1.0, 4.0).utterance.end == pytest.approx(4.0)
    assert told(connected(ledger, 10.0), ledger, 6.1, 8.9, words=False).utterance.end


def test_times_in_forgotten_audio() -> None:
    """Audio that is committed and forgotten has no words that are still to come."""
    ledger = ledger_of(18.0, (1.0, 4.0), (10.0, 16.0))
    connection = connected(ledger, 17.0)
    ledger.commit(12 * RATE)
    assert told(connection, ledger, 1.0, 4.0).utterance.end is None


def test_an_old_end_without_a_start() -> None:
    """What only says where it ends, long ago, may have begun at any voice before."""
    ledger = ledger_of(18.0, (1.0, 4.0), (10.0, 16.0))
    connection = connected(ledger, 17.0)
    event = TranscriptEvent(FINAL, "one two three", (), None, 4.0)
    assert connection.interpret(event, 100.0 + 17.0).utterance.end == pytest.approx(4.0)


@pytest.mark.parametrize("text", ["three four five six", "我们今天去公园散步好吗谢谢大家"])
def test_a_sentence_as_a_word(text: str) -> None:
    """A "word" that is a whole sentence has the times of that sentence only."""
    ledger = ledger_of(8.0, (1.0, 4.0))
    event = TranscriptEvent(FINAL, text, (Word(text, 1.0, 3.8),), 0.0, 5.0)
    utterance = connected(ledger, 5.0).interpret(event, 100.0).utterance
    assert (utterance.words, utterance.start) == ((), 1.0)
    assert utterance.end == pytest.approx(3.8)


def test_one_wrong_report_does_not_condemn_the_next() -> None:
    """Each event is judged by itself."""
    ledger = ledger_of(16.0, (1.0, 4.0), (6.0, 9.0))
    connection = connected(ledger, 5.0)
    assert told(connection, ledger, 1000.0, 4000.0).utterance.end is None
    send(connection, ledger, 10.0)
    assert told(connection, ledger, 6.1, 8.9).utterance.end == pytest.approx(8.9)


def test_a_repeated_final_without_a_start() -> None:
    """A FINAL that only says where it ends, and ends there a second time, is a duplicate."""
    ledger = ledger_of(5.0, (1.0, 4.0))
    connection = connected(ledger, 4.5)
    unusable = (Word("yes", -9.0, -8.0),)
    event = TranscriptEvent(FINAL, "yes", unusable, None, 3.0)
    assert not connection.interpret(event, 100.0).is_duplicate
    assert connection.interpret(event, 100.1).is_duplicate


@pytest.mark.parametrize("ends_at_sent", [True, False])
@pytest.mark.parametrize("words", [True, False])
def test_an_end_that_is_what_was_sent(ends_at_sent: bool, words: bool) -> None:
    """Of a provider that is known for it, only times of words are believed: a late end would be in
    the next sentence."""
    ledger = ledger_of(16.0, (1.0, 4.0), (5.0, 8.5))
    provider = ProviderTraits(name="a", pace=Pace(burst=100.0), ends_at_sent=ends_at_sent)
    connection = opened(provider, ledger)
    connection.sender.caught_up = True
    send(connection, ledger, 6.0)
    end = told(connection, ledger, 1.0, 5.9, "one two three four five six", words=words)
    assert (end.utterance.end is None) is (ends_at_sent and not words)
