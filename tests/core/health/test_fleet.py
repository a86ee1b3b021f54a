"""Several processes and a store: any events, any delays, and clocks that disagree."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.health.replica import HealthReplica
from resilient_stt.core.health.report import ClockSample, HealthReport
from resilient_stt.core.policy import BreakerPolicy
from resilient_stt.fleet.wire import decode, encode

PROCESSES = 4
TICK = 1e-3
"""Seconds between any two events, because events at the same time have no order."""


@dataclass
class Store:
    """A model of Redis; `tests/fleet/test_redis.py` checks the real script by the same rules."""

    now: float = 0.0
    value: bytes | None = None
    kept: list[tuple[int, bytes]] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    texts: dict[int, int] = field(default_factory=dict)

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
        self.failures = {name: s for name, s in self.failures.items() if s > at}
        self.texts = {second: s for second, s in self.texts.items() if s > at}
        return True

    def add(self, failures: dict[str, int], texts: list[int]) -> None:
        self.failures |= {name: min(stamp, self.stamp) for name, stamp in failures.items()}
        for stamp in texts if self.failures else ():
            at = min(stamp, self.stamp)
            self.texts[at // 10**6] = max(at, self.texts.get(at // 10**6, 0))

    def forget(self) -> None:
        self.value, self.failures, self.texts = None, {}, {}


@dataclass
class Round:
    """A round trip that is under way; `report` is what it sends."""

    sent: float
    report: HealthReport | None
    text: str = ""
    stamp: int = 0
    failures: list[tuple[str, float]] = field(default_factory=list)
    texts: list[float] = field(default_factory=list)
    read_failures: dict[str, int] = field(default_factory=dict)
    read_texts: list[int] = field(default_factory=list)
    kept: bool = False
    read_stamp: int | None = None
    value: bytes | None = None


class Process:
    """A process with a clock of its own. Its records have true times, its breaker its own."""

    def __init__(self, number: int, store: Store) -> None:
        self.offset = 1000.0 * number + 0.5
        self.replica = HealthReplica(ProviderHealth(Breaker(BreakerPolicy())), str(number))
        self.store = store
        self.clock: ClockSample | None = None
        self.round: Round | None = None
        self.fleet: list[Process] = [self]
        self.good: list[float] = []
        self.bad: list[float] = []

    @property
    def breaker(self) -> Breaker:
        return self.replica.health.breaker

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
        report = self.replica.unreported() if self.clock else None
        self.round = Round(self.now(), report)
        if report and self.clock:
            self.round.text = encode(report, self.replica.origin, self.clock.uncertainty)
            self.round.stamp = self.clock.to_store(report.at)
        if self.clock:
            self.round.failures = self.replica.unreported_failures(self.now())
            self.round.texts = self.replica.unreported_texts(self.now())

    def arrive(self, trip: Round) -> None:
        trip.read_stamp = self.store.stamp
        if self.clock:
            stamp = self.clock.to_store
            self.store.add(
                {name: stamp(at) for name, at in trip.failures}, [stamp(at) for at in trip.texts]
            )
        if trip.report:
            trip.kept = self.store.take(trip.stamp, trip.text)
            if trip.kept:
                self.is_own(trip.report)
        trip.value = self.store.value
        trip.read_failures, trip.read_texts = self.store.failures, [*self.store.texts.values()]

    def receive(self, trip: Round) -> None:
        assert trip.read_stamp is not None
        self.round = None
        self.clock = ClockSample(trip.read_stamp, trip.sent, self.now())
        if trip.report:
            self.replica.mark_reported(trip.report, kept=trip.kept)
        before = self.breaker.admits(self.now())
        self.replica.apply_stored(decode(trip.value, self.clock), self.now())
        after = self.breaker.admits(self.now())
        if before != after and trip.value is not None:
            self.is_newer(trip.value, closed=after)
        if trip.failures:
            self.replica.mark_failures_reported(trip.failures[-1][0])
        if trip.texts:
            self.replica.mark_texts_reported(trip.texts[-1])
        local = self.clock.to_local
        failures = [(name, local(stamp)) for name, stamp in trip.read_failures.items()]
        self.replica.apply_outcomes(failures, [local(s) for s in trip.read_texts], self.now())
        if after and not self.breaker.admits(self.now()):  # nobody has had text since
            assert not self.good or self.good[-1] < max(at for p in self.fleet for at in p.bad)

    def lose(self) -> None:
        """Lose the connection, and the round trip that is under way."""
        self.round = self.clock = None
        self.replica.store_lost()

    def step(self) -> None:
        """Make the next part of a round trip."""
        if self.round is None:
            self.send()
        elif self.round.read_stamp is None:
            self.arrive(self.round)
        else:
            self.receive(self.round)

    # -- what must hold

    def is_own(self, report: HealthReport) -> None:
        """Check that this process observed what it stored, at that time.

        A trip by the failures of all is dated by the last one, and too early rather than too late.
        """
        if report.healthy or report.passes:
            assert any(abs(at + self.offset - report.at) < TICK / 2 for at in self.good)
        else:
            assert any(at + self.offset > report.at - TICK / 2 for p in self.fleet for at in p.bad)

    def is_newer(self, value: bytes, *, closed: bool) -> None:
        """Check that a report which changed this process is newer than its own observations."""
        found_by = TRUE_TIMES[value]
        own = self.bad if closed else self.good
        assert not own or own[-1] < found_by


TRUE_TIMES: dict[bytes, float] = {}


class Fleet:
    """Four processes and their store."""

    def __init__(self) -> None:
        TRUE_TIMES.clear()
        self.store = Store()
        self.processes = [Process(n, self.store) for n in range(PROCESSES)]
        for process in self.processes:
            process.fleet = self.processes

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
                self.store.forget()
            case _:
                self.step(process)

    def step(self, process: Process) -> None:
        trip, kept = process.round, len(self.store.kept)
        process.step()
        if len(self.store.kept) > kept and trip and trip.report:
            TRUE_TIMES[self.store.kept[-1][1]] = trip.report.at - process.offset

    def settle(self) -> None:
        """Let every process make a few round trips while nothing else happens."""
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
    """Two round trips of a process."""
    return [(number, "step", 0.0)] * 6


SLOW_ANSWER = [
    *(*synced(0), *synced(1), (1, "step", 0.0)),
    *((0, "trip", 0.0), (0, "step", 0.0), (0, "step", 0.0)),
    *((1, "step", 0.0), (1, "text", 0.02), (1, "step", 1.0)),
]
"""Text arrives while an answer with a report of failures is under way."""


@settings(max_examples=300)
@given(st.lists(steps, max_size=60))
@example(SLOW_ANSWER)
@example([*synced(0), *synced(1), (0, "trip", 0.0), *synced(0), *synced(1), (1, "text", 0.0)])
@example([*synced(0), *synced(1), (0, "trip", 0.0), (0, "step", 0.0), (1, "text", 0.3)])
@example([*synced(0), (0, "trip", 0.0), (0, "step", 0), (1, "text", 1.0), *synced(0), *synced(1)])
@example([*synced(0), (0, "trip", 0.0), *synced(0), (0, "lose", 0), (1, "text", 9), *synced(1)])
def test_a_fleet_agrees_and_falls_silent(script: list[tuple[int, str, float]]) -> None:
    """After any events in any order: no process reports what others found, no older report undoes
    a later observation, and once nothing happens, nothing is reported and all agree who can.
    """
    fleet = Fleet()
    for step in script:
        fleet.do(*step)
    seen = sum(len(p.good) + len(p.bad) for p in fleet.processes)
    assert len(fleet.store.kept) <= seen * PROCESSES
    fleet.settle()
    written, outcomes = len(fleet.store.kept), (fleet.store.failures, fleet.store.texts)
    fleet.settle()
    assert len(fleet.store.kept) == written
    assert (fleet.store.failures, fleet.store.texts) == outcomes
    agree(fleet)


def agree(fleet: Fleet) -> None:
    """Check that every process that has seen nothing to the contrary agrees with the store."""
    for process in fleet.processes:
        assert process.clock
        stored = decode(fleet.store.value, process.clock)
        if stored is None or stored.origin == process.replica.origin:
            continue
        if not process.breaker.observations.contradicts(stored.report):
            assert process.breaker.admits(process.now()) == stored.report.healthy


def test_all_learn_of_a_trip_and_of_its_end() -> None:
    """Every process opens, and closes again after the first text anywhere."""
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


def test_an_old_report_opens_nothing() -> None:
    """A process that was cut off reports a lock from before the text of others."""
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


def test_failures_of_several_processes_add_up() -> None:
    """One each of three is as bad as three of one, and a fourth process opens too."""
    fleet = Fleet()
    fleet.settle()
    for number in range(3):
        assert all(p.breaker.admits(p.now()) for p in fleet.processes)
        fleet.do(number, "fail", 0.1)
        fleet.settle()
    states = [p.breaker.state(p.now()) for p in fleet.processes]
    assert states == [BreakerState.OPEN] * PROCESSES
    assert fleet.store.failures == {}  # the report stands for them


def test_text_anywhere_ends_a_row_of_the_fleet() -> None:
    """Two failures, text in a third process, and a failure are no row."""
    fleet = Fleet()
    fleet.settle()
    for number, what in ((0, "fail"), (1, "fail"), (2, "text"), (0, "fail")):
        fleet.do(number, what, 0.1)
        fleet.settle()
    assert all(p.breaker.admits(p.now()) for p in fleet.processes)
    assert len(fleet.store.failures) == 3


def test_a_healthy_fleet_writes_no_outcomes() -> None:
    """Text is written only while there are failures that it speaks against, one per second."""
    fleet = Fleet()
    fleet.settle()
    for _ in range(20):
        fleet.do(0, "text", 0.3)
        fleet.do(1, "text", 0.0)
        fleet.settle()
    assert (fleet.store.failures, fleet.store.texts) == ({}, {})
    fleet.do(2, "fail", 0.3)
    fleet.settle()
    assert len(fleet.store.failures) == 1
    assert 6 <= len(fleet.store.texts) <= 9
