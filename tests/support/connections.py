"""Ledgers and connections by themselves, for tests of what is done to one connection."""

from __future__ import annotations

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection, open_connection
from resilient_stt.core.events import Role
from resilient_stt.core.health.latency import FinalLatency
from resilient_stt.core.policy import Pace, ProviderTraits, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.detector import StallDetector
from resilient_stt.core.transcript.history import TranscriptHistory

RATE = 100
POLICY = ReplayPolicy(window=20.0)


def ledger_of(
    seconds: float,
    *segments: tuple[float, float],
    committed: float = 0.0,
    vad_enabled: bool = True,
) -> AudioLedger:
    """Return a ledger with so much audio, and voice from and to so many seconds."""
    ledger = AudioLedger(POLICY, vad_enabled=vad_enabled)
    if seconds:
        ledger.push(round(seconds * RATE), RATE)
    for start, end in segments:
        ledger.speech_started(round(start * RATE))
        ledger.speech_ended(round(end * RATE))
    ledger.commit(round(committed * RATE))
    return ledger


class RecordingDetector(StallDetector):
    """Records up to which second finals are expected, and whether because of a flush."""

    def __init__(self, provider: ProviderTraits, start: int) -> None:
        super().__init__(provider, FinalLatency(), WatchdogPolicy(), start)
        self.expected: list[tuple[float, bool]] = []

    def expect_final(
        self,
        through: int,
        processed_at: float,
        *,
        flushed: bool,
        sent_ago: float = 0.0,
        last_word_end: int | None = None,
    ) -> None:
        self.expected.append((through / RATE, flushed))
        super().expect_final(
            through, processed_at, flushed=flushed, sent_ago=sent_ago, last_word_end=last_word_end
        )


def expected(connection: Connection) -> list[tuple[float, bool]]:
    """Return what the detector of a connection has recorded."""
    assert isinstance(connection.stall_detector, RecordingDetector)
    return connection.stall_detector.expected


def opened(
    provider: ProviderTraits,
    ledger: AudioLedger,
    role: Role = Role.ACTIVE,
    *,
    number: int = 0,
    flush_at_pauses: bool = False,
) -> Connection:
    """Return a connection that was opened at 10 s."""
    return open_connection(
        number,
        provider,
        role,
        10.0,
        ledger,
        TranscriptHistory(POLICY),
        lambda start: RecordingDetector(provider, start),
        POLICY,
        flush_at_pauses=flush_at_pauses,
    )


def a_connection(
    ledger: AudioLedger,
    *,
    burst: float = 5.0,
    rate: float = 2.0,
    number: int = 0,
    flush_at_pauses: bool = False,
) -> Connection:
    """Return an active connection to a provider that answers flushes."""
    provider = ProviderTraits(name="a", pace=Pace(burst=burst, rate=rate), manual_flush=True)
    return opened(provider, ledger, number=number, flush_at_pauses=flush_at_pauses)
