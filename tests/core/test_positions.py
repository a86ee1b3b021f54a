"""The session samples at which audio alone makes something due: where a lull must end."""

from __future__ import annotations

from resilient_stt.core.health.latency import FinalLatency
from resilient_stt.core.output.committer import Committer
from resilient_stt.core.policy import ProviderTraits, WatchdogPolicy
from resilient_stt.core.stalls.detector import StallDetector
from resilient_stt.core.transcript.history import TranscriptHistory

from ..support.connections import POLICY, RATE, ledger_of, opened
from ..support.pools import pool_of

TRAITS = ProviderTraits(name="a", interim_results=True)


def detector() -> StallDetector:
    return StallDetector(TRAITS, FinalLatency(), WatchdogPolicy(), 0)


def test_the_first_voice_is_noted_with_the_next_frame() -> None:
    """Speech of which the connection was sent nothing starts a deadline as soon as it is sent.

    Nothing is decided on that: no deadline is near before there is more of it.
    """
    ledger, stalls = ledger_of(1.0), detector()
    assert not stalls.awaits_voice(ledger)
    ledger.speech_started(RATE // 2)
    assert stalls.awaits_voice(ledger)
    assert min(stalls.positions(ledger, 1.0)) > ledger.end
    stalls.audio_sent(ledger, ledger.end, 10.0)
    assert not stalls.awaits_voice(ledger)


def test_enough_voice_for_a_stall() -> None:
    """In speech, the next amount of voice that means something is where it would be reached."""
    ledger, stalls = ledger_of(1.0), detector()
    ledger.speech_started(RATE // 2)
    stalls.audio_sent(ledger, ledger.end, 10.0)
    enough = round(WatchdogPolicy().min_speech_before_stall * RATE)
    assert min(stalls.positions(ledger, 1.0)) == RATE // 2 + enough


def test_a_pause_begins() -> None:
    """At the end of voice the next frame shows silence, and then half a timeout of it counts."""
    ledger, stalls = ledger_of(1.0), detector()
    ledger.speech_started(0)
    stalls.audio_sent(ledger, ledger.end, 10.0)
    ledger.speech_ended(ledger.end)
    assert stalls.positions(ledger, 1.0) == [ledger.end]
    ledger.push(1, RATE)
    pause = round(WatchdogPolicy().no_interim_timeout / 2 * RATE)
    assert stalls.positions(ledger, 1.0) == [RATE + pause]
    ledger.push(pause, RATE)
    assert stalls.positions(ledger, 1.0) == []


def test_without_voice_activity_no_amount_is_due() -> None:
    """Without VAD, audio causes no stall. The detector notes when the first of it was sent."""
    ledger, stalls = ledger_of(1.0, vad_enabled=False), detector()
    assert stalls.awaits_voice(ledger)
    stalls.audio_sent(ledger, ledger.end, 10.0)
    assert not stalls.awaits_voice(ledger)
    assert stalls.positions(ledger, 1.0) == []


def test_a_final_without_times_is_committed_a_grace_behind_its_speech() -> None:
    """Before, it may be; while the speech lasts, its end is an input; without claims, never."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    connection, history = opened(TRAITS, ledger), TranscriptHistory(POLICY)
    committer = Committer(pool=pool_of(ledger), ledger=ledger, history=history, policy=POLICY)
    assert committer.positions(connection) == []
    connection.untimed_finals.append(3 * RATE)
    assert committer.positions(connection) == [round((2.0 + POLICY.commit_grace) * RATE)]
    ledger.commit(3 * RATE)
    assert committer.positions(connection) == [ledger.end]
    ledger.speech_started(3 * RATE)
    ledger.push(RATE, RATE)
    connection.untimed_finals.append(4 * RATE)
    connection.untimed_finals.popleft()
    assert committer.positions(connection) == []
