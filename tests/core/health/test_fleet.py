"""A fleet of processes with a store between them: any events, any delays, clocks that disagree."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker, BreakerState
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.health.replica import HealthReplica
from resilient_stt.core.health.report import ClockSample, HealthReport
from resilient_stt.core.policy import BreakerPolicy
from resilient_stt.fleet.wire import decode, encode

PROCESSES = 4
TICK = 1e-3
"""Seconds between any two events: what happens at once has no order."""


@dataclass
class Store:
    """What Redis does (`test_shared_health` holds the script against the same rules)."""

    now: float = 0.0
    value: bytes | None = None
    kept: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def stamp(self) -> int:
        return round((self.now + 1.7e9) * 1e6)

    def take(self, stamp: int, text: str) -> bool:
        at = min(stamp, self.stamp)
        newest = int(self.value.split(b" ", 1)[0]) if self.value else -1
        if newest >= at:
            return False
        self.value = f"{at} {text}".encode()
        self.kept.append((at, self.value))
        return True


@dataclass
class Round:
    """A round trip that is under way; `verdict`: what it tells."""

    sent: float
    verdict: HealthReport | None
    text: str = ""
    stamp: int = 0
    kept: bool = False
    read_stamp: int | None = None
    value: bytes | None = None


class Process:
    """A process with a clock of its own; all times are true ones, but for what it is given."""

    def __init__(self, number: int, store: Store) -> None:
        self.offset = 1000.0 * number + 0.5
        self.member = HealthReplica(ProviderHealth(Breaker(BreakerPolicy())), str(number))
        self.store = store
        self.clock: ClockSample | None = None
        self.round: Round | None = None
        self.good: list[float] = []
        self.bad: list[float] = []

    @property
    def breaker(self) -> Breaker:
        return self.member.health.breaker

    def now(self) -> float:
        return self.store.now + self.offset

    # -- what it sees

    def fail(self, kind: ErrorKind = ErrorKind.SERVER) -> None:
        self.breaker.record_failure(kind, self.now())
        self.bad.append(self.store.now)

    def text(self) -> None:
        self.breaker.record_text(self.now())
        self.good.append(self.store.now)

    def passed(self) -> None:
        closed = self.breaker.admits(self.now())
        if self.breaker.is_proven():
            return
        self.breaker.probe_passed(self.now())
        if not closed or self.breaker.is_proven():  # one of a closed one proves nothing
            self.good.append(self.store.now)

    # -- its round trips

    def send(self) -> None:
        news = self.member.unreported() if self.clock else None
        self.round = Round(self.now(), news)
        if news and self.clock:
            self.round.text = encode(news, self.member.origin, self.clock.uncertainty)
            self.round.stamp = self.clock.to_store(news.at)

    def arrive(self, trip: Round) -> None:
        trip.read_stamp = self.store.stamp
        if trip.verdict:
            trip.kept = self.store.take(trip.stamp, trip.text)
            if trip.kept:
                self.is_own(trip.verdict)
        trip.value = self.store.value

    def receive(self, trip: Round) -> None:
        assert trip.read_stamp is not None
        self.round = None
        self.clock = ClockSample(trip.read_stamp, trip.sent, self.now())
        if trip.verdict:
            self.member.mark_reported(trip.verdict, kept=trip.kept)
        before = self.breaker.admits(self.now())
        self.member.apply_stored(decode(trip.value, self.clock), self.now())
        after = self.breaker.admits(self.now())
        if before != after and trip.value is not None:
            self.is_newer(trip.value, closed=after)

    def lose(self) -> None:
        """Its connection is lost, and with it what was under way."""
        self.round = self.clock = None
        self.member.store_lost()

    def step(self) -> None:
        """The next part of a round trip."""
        if self.round is None:
            self.send()
        elif self.round.read_stamp is None:
            self.arrive(self.round)
        else:
            self.receive(self.round)

    # -- what must hold

    def is_own(self, verdict: HealthReport) -> None:
        """What was kept was seen by this very process, at that very time."""
        seen = self.good if verdict.healthy or verdict.passes else self.bad
        assert any(abs(at + self.offset - verdict.at) < TICK / 2 for at in seen)

    def is_newer(self, value: bytes, *, closed: bool) -> None:
        """What changed a process is newer than what it had seen itself that says otherwise."""
        found_by = TRUE_TIMES[value]
        own = self.bad if closed else self.good
        assert not own or own[-1] < found_by


TRUE_TIMES: dict[bytes, float] = {}


class Fleet:
    """All of them, and what was told when."""

    def __init__(self) -> None:
        TRUE_TIMES.clear()
        self.store = Store()
        self.processes = [Process(n, self.store) for n in range(PROCESSES)]

    def do(self, number: int, what: str, seconds: float) -> None:
        process = self.processes[number]
        self.store.now += seconds + TICK
        match what:
            case "trip":
                for _ in range(3):
                    process.fail()
            case "fail":
                process.fail()
            case "lock":
                process.fail(ErrorKind.AUTH)
            case "text":
                process.text()
            case "pass":
                process.passed()
            case "lose":
                process.lose()
            case "forget":
                self.store.value = None
            case _:
                self.step(process)

    def step(self, process: Process) -> None:
        trip, kept = process.round, len(self.store.kept)
        process.step()
        if len(self.store.kept) > kept and trip and trip.verdict:
            TRUE_TIMES[self.store.kept[-1][1]] = trip.verdict.at - process.offset

    def settle(self) -> None:
        """Everybody makes a few round trips, and nothing else happens."""
        for _ in range(3 * PROCESSES):
            for number in range(PROCESSES):
                self.do(number, "step", 0.0)


ACTIONS = ["trip", "fail", "lock", "text", "pass", "lose", "forget", *["step"] * 12]
steps = st.tuples(
    st.integers(0, PROCESSES - 1),
    st.sampled_from(ACTIONS),
    st.sampled_from([0.0, 0.0, 0.02, 0.3, 1.0, 6.0]),
)


def synced(number: int) -> list[tuple[int, str, float]]:
    """A round trip and the next."""
    return [(number, "step", 0.0)] * 6


SLOW_ANSWER = [
    *(*synced(0), *synced(1), (1, "step", 0.0)),
    *((0, "trip", 0.0), (0, "step", 0.0), (0, "step", 0.0)),
    *((1, "step", 0.0), (1, "text", 0.02), (1, "step", 1.0)),
]
"""Text comes while an answer is under way that says the provider is not well."""


@settings(max_examples=300)
@given(st.lists(steps, max_size=60))
@example(SLOW_ANSWER)
@example([*synced(0), *synced(1), (0, "trip", 0.0), *synced(0), *synced(1), (1, "text", 0.0)])
@example([*synced(0), *synced(1), (0, "trip", 0.0), (0, "step", 0.0), (1, "text", 0.3)])
@example([*synced(0), (0, "trip", 0.0), (0, "step", 0), (1, "text", 1.0), *synced(0), *synced(1)])
@example([*synced(0), (0, "trip", 0.0), *synced(0), (0, "lose", 0), (1, "text", 9), *synced(1)])
def test_a_fleet_agrees_and_falls_silent(script: list[tuple[int, str, float]]) -> None:
    """Whatever happens in whatever order: nobody tells what others said, nothing older undoes what
    was seen since, and once nothing happens, nothing is told, and all agree who could."""
    fleet = Fleet()
    for step in script:
        fleet.do(*step)
    assert len(fleet.store.kept) <= sum(len(p.good) + len(p.bad) for p in fleet.processes)
    fleet.settle()
    told = len(fleet.store.kept)
    fleet.settle()
    assert len(fleet.store.kept) == told
    agree(fleet)


def agree(fleet: Fleet) -> None:
    """Who has not seen otherwise since is of the opinion that is stored."""
    for process in fleet.processes:
        assert process.clock
        stored = decode(fleet.store.value, process.clock)
        if stored is None or stored.origin == process.member.origin:
            continue
        if not process.breaker.observations.contradicts(stored.report):
            assert process.breaker.admits(process.now()) == stored.report.healthy


def test_a_trip_is_known_to_all_and_so_is_the_proof() -> None:
    """The plain story, with nothing in its way."""
    fleet = Fleet()
    fleet.settle()
    fleet.do(0, "trip", 0.0)
    fleet.settle()
    states = [p.breaker.state(p.now()) for p in fleet.processes]
    assert states == [BreakerState.OPEN] * PROCESSES
    fleet.do(2, "text", 0.5)
    fleet.settle()
    assert all(p.breaker.is_proven() for p in fleet.processes)
    assert len(fleet.store.kept) == 2
    fleet.do(3, "lock", 0.5)
    fleet.settle()
    assert [p.breaker.state(p.now()) for p in fleet.processes] == [BreakerState.LOCKED] * PROCESSES


def test_who_was_cut_off_opens_nothing() -> None:
    """It comes back with a trip of before, when the others have long had text."""
    fleet = Fleet()
    fleet.settle()
    fleet.do(0, "lose", 0.0)
    fleet.do(0, "lock", 1.0)
    fleet.do(1, "trip", 1.0)
    fleet.do(2, "text", 5.0)
    for number in (1, 2, 3):
        for _ in range(6):
            fleet.do(number, "step", 0.0)
    fleet.settle()
    assert all(p.breaker.is_proven() for p in fleet.processes)
