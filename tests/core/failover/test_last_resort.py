"""A last resort serves while no other provider works, and no longer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from resilient_stt.core.events import (
    ErrorKind,
    OutageStarted,
    ProbePassed,
    ProviderRecovered,
    Role,
    Switched,
)
from resilient_stt.core.messages import ReportEvent

from ...support.promises import VOCABULARY, assert_promises, events
from ...support.simulator import Drop, Recognizer, Simulation, Spoken, sentence, speak

FOREVER = 9_999.0


def turns(count: int, *, pause: float = 1.5) -> list[Spoken]:
    """Return `count` sentences of three words, with pauses that make turn boundaries."""
    words = itertools.cycle(VOCABULARY)
    pieces = [
        sentence(" ".join(itertools.islice(words, 3)), before=pause if i else 0.6)
        for i in range(count)
    ]
    return speak(*itertools.chain(*pieces))


def route(
    down: Sequence[tuple[float, float]], also_down: Sequence[tuple[float, float]] | None = None
) -> list[Recognizer]:
    """Two providers that are down at times, and a last resort."""
    others = down if also_down is None else also_down
    return [
        Recognizer("a", down=down),
        Recognizer("b", down=others),
        Recognizer("local", last_resort=True),
    ]


def moves(sim: Simulation) -> list[tuple[float, str, str, str]]:
    return [(e.at, e.from_provider, e.to_provider, e.reason) for e in events(sim, Switched)]


def test_it_serves_at_once_when_all_others_are_out() -> None:
    """When all others fail for good in mid-sentence, no word is lost, and no outage begins."""
    words = turns(8)
    assert words[4].start < 3.5 < words[4].end
    sim = Simulation(words, route([(3.5, FOREVER)])).run(within=2)
    assert_promises(sim)
    assert sim.served[-1] == "local"
    assert events(sim, OutageStarted) == []
    ((at, *_, last),) = [m for m in moves(sim) if m[2] == "local"]
    assert at - 3.5 < 0.5
    assert last == "connect"


@pytest.mark.parametrize("outage", [8.0, 150.0])
def test_it_is_left_at_the_next_turn_boundary(outage: float) -> None:
    """Once another provider is back, the first utterance that it transcribes is enough, however
    long it was away; the times that keep a stream on a fallback do not count."""
    words = turns(80)
    sim = Simulation(words, route([(3.0, 3.0 + outage)])).run(within=2)
    assert_promises(sim)
    at, *back = moves(sim)[-1]
    assert back == ["local", "a", "failback"]
    assert 3.0 + outage < at < 3.0 + outage + 5.0 + 2 * 3.0  # at most 5 s between two probes
    recovered = events(sim, ProviderRecovered)[-1]
    assert recovered.provider == "a"
    reports = [c.event for _, c in sim.commands if isinstance(c, ReportEvent)]
    assert len([e for e in reports if isinstance(e, ProbePassed)]) == 1
    boundary = max(w.end for w in words if w.end < at)
    assert at - boundary == pytest.approx(0.7 + 0.5, abs=0.2)
    assert sim.served[-1] == "a"


def test_it_is_left_for_the_provider_that_is_back_first() -> None:
    """That need not be the preferred one, to which the stream returns by the usual rules: after
    30 s on the fallback. Leaving the last resort does not count as a return."""
    sim = Simulation(turns(40), route([(3.0, 12.0)], [(3.0, 8.0)])).run(within=2)
    assert_promises(sim)
    (left, *first), (returned, *second) = moves(sim)[-2:]
    assert first == ["local", "b", "failback"]
    assert second == ["b", "a", "failback"]
    assert 30.0 <= returned - left < 50.0


def test_a_provider_that_asked_for_a_break_gets_it() -> None:
    """A probe that is due early for a last resort is not made before the time that was asked."""
    providers = [Recognizer("a"), Recognizer("local", last_resort=True)]
    sim = Simulation(turns(20), providers)
    sim.health["a"].breaker.record_failure(ErrorKind.RATE_LIMITED, sim.now, 40.0)
    sim.run(within=2)
    assert_promises(sim)
    assert sim.served == ["local", "a"]
    ((at, *_),) = moves(sim)
    assert 40.0 < at < 50.0


def test_a_provider_that_refused_the_account_is_not_asked_again() -> None:
    """Locked providers are probed after their time, also while a last resort serves."""
    drop = Drop(3.0, kind=ErrorKind.AUTH)
    providers = [Recognizer("a", [drop]), Recognizer("local", last_resort=True)]
    sim = Simulation(turns(16), providers).run(within=2)
    assert_promises(sim)
    assert sim.opened_as(Role.PROBE) == []


def test_a_slow_provider_is_not_left_for_it() -> None:
    """Late finals of a provider that works are better than a last resort."""
    words = speak(*[(w, 4.0, 0.4) for w in VOCABULARY[:8]])
    slow = Recognizer("a", latency=3.2, interims=False, final_timeout=9.0)
    spare = Recognizer("local", last_resort=True)
    sim = Simulation(words, [slow, spare], tail=5.0).run(within=9)
    assert_promises(sim)
    assert sim.served == ["a"]


def test_it_serves_as_the_only_provider() -> None:
    """Alone in its route, or preferred, it is a provider like any other."""
    for providers in (
        [Recognizer("local", last_resort=True)],
        [Recognizer("local", last_resort=True), Recognizer("b")],
    ):
        sim = Simulation(turns(4), providers).run(within=2)
        assert_promises(sim)
        assert sim.served == ["local"]
