"""Asserts what every stream must keep, and strategies for random speech and random faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import AudioLost, Decision, ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.messages import EventKind
from resilient_stt.core.policy import Pace, Policies, ProviderTraits, ReplayPolicy
from resilient_stt.testing.harness.score import Final, score
from resilient_stt.testing.speech.reference import SpokenWord

from .simulator import (
    HANG,
    Drop,
    DropAfterClose,
    EmptyFinals,
    EndCleanly,
    Fault,
    IgnoreClose,
    Latency,
    LostTail,
    Recognizer,
    Refuse,
    Simulation,
    Spoken,
    Stall,
    routing,
    sentence,
    speak,
)

START, END, FINAL, INTERIM = EventKind.START, EventKind.END, EventKind.FINAL, EventKind.INTERIM

VOCABULARY = [a + v + b for a in "bdfgklmnprst" for v in "aeiou" for b in "bdfgklmnprst"]
"""Words of which no two are similar."""

TWO = speak(
    *sentence("one two three four"),
    *sentence("five six seven eight", before=1.0),
    *sentence("nine ten eleven twelve", before=1.0),
)
WORDS = [w.text for w in TWO]

seconds = st.floats(0, 12).map(lambda s: round(s, 3))
kinds = st.sampled_from([*ErrorKind, *[ErrorKind.DROPPED] * 9])
loud_faults: st.SearchStrategy[Fault] = st.one_of(
    st.just(HANG),
    st.builds(Refuse, kinds, st.sampled_from([0.0, 0.05, 0.3])),
    st.builds(Drop, seconds, st.booleans(), kinds),
    st.builds(Drop, seconds, st.booleans()),
    st.builds(EndCleanly, seconds),
    st.builds(DropAfterClose, st.sampled_from([0.0, 0.05, 0.5])),
    st.just(IgnoreClose(sends_final=True)),
)
"""Faults that raise an exception or end the connection."""
silent_faults: st.SearchStrategy[Fault] = st.one_of(
    st.builds(Stall, seconds, st.sampled_from([0.5, 2.0, 5.0, float("inf")])),
    st.builds(Stall, st.just(0.0) | seconds),
    st.builds(EmptyFinals, st.just(0.0) | seconds),
    st.builds(Latency, st.sampled_from([0.5, 2.0, 4.0])),
)
"""Faults that raise no exception."""


@st.composite
def speeches(draw: st.DrawFn, *, most: int = 12, noisy: bool = False) -> list[Spoken]:
    """Words with pauses of any length; `noisy`: also voice without words."""
    words = draw(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=most, unique=True))
    gaps = st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 4.0])
    lengths = st.sampled_from([0.25, 0.3, 0.4, 0.7])
    pieces = [(w, draw(gaps) if i else 0.4, draw(lengths)) for i, w in enumerate(words)]
    for _ in range(draw(st.integers(0, 3)) if noisy else 0):
        cough = ("", draw(gaps), draw(st.sampled_from([0.2, 0.5, 1.5, 4.0])))
        pieces.insert(draw(st.integers(0, len(pieces))), cough)
    return speak(*pieces)


@st.composite
def recognizers(
    draw: st.DrawFn,
    name: str,
    times: str = "words",
    jitter: float = 0.0,
    faults: st.SearchStrategy[Fault] = loud_faults,
    *,
    most: int = 4,
) -> Recognizer:
    """A provider of any kind; up to `most` of its first connections have one of `faults`."""
    errors = draw(st.randoms(use_true_random=False))
    flushes = draw(st.booleans())
    return Recognizer(
        name,
        draw(st.lists(st.none() | faults, max_size=most)),
        times=times,
        latency=draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])),
        endpointing=draw(st.sampled_from([0.1, 0.3, 0.5, 0.8])),
        speed=draw(st.sampled_from([1.25, 2.0, 20.0])),
        most=draw(st.sampled_from([1, 2, 3, 99])),
        interims=draw(st.booleans()),
        flushes=flushes,
        slow_endpointing=flushes and draw(st.booleans()),
        jitter=lambda _: errors.uniform(-jitter, jitter),
        pace=Pace(
            burst=draw(st.sampled_from([0.05, 0.5, 5.0])), rate=draw(st.sampled_from([1.5, 2.0]))
        ),
    )


@st.composite
def simulations(
    draw: st.DrawFn,
    times: tuple[str, ...] = ("words",),
    jitter: float = 0.0,
    *,
    loses: bool = True,
    noisy: bool = False,
) -> Simulation:
    """A stream over one to three providers whose connections break in any way."""
    words = draw(speeches(noisy=noisy))
    route = [
        draw(recognizers(name, draw(st.sampled_from(times)), jitter))
        for name in "abc"[: draw(st.integers(1, 3))]
    ]
    if loses and draw(st.booleans()):
        # Only one connection may lose its tail: if a second one has no words there either, the
        # engine takes the rest for noise.
        tails: list[Fault] = [IgnoreClose(sends_final=False)]
        last = [word for word in words if word.text][-1]
        if last.end - last.start - jitter >= ReplayPolicy().min_pending_speech:
            tails.append(LostTail())  # a shorter rest counts as noise
        tail = draw(st.sampled_from(tails))
        route[0] = replace(route[0], faults=[*route[0].faults, tail])
    return draw(around(words, route))


@st.composite
def around(draw: st.DrawFn, words: list[Spoken], route: list[Recognizer]) -> Simulation:
    """A simulation of these words and providers with any frame size, clock and tail."""
    return Simulation(
        words,
        route,
        tail=draw(st.sampled_from([0.0, 0.2, 0.6, 1.5])),
        frame=draw(st.sampled_from([0.03, 0.1])),
        base=draw(st.sampled_from([0.0, 1_000.7, 123_456.789])),
        pad=draw(st.sampled_from([0.0, 0.1])),
    )


def assert_promises(sim: Simulation) -> None:
    """Assert that each word came once, in order, with balanced speech and no reported loss.

    If a provider has an accent, a word may come in any of its forms.
    """
    if any(provider.accent for provider in sim.recognizers.values()):
        spoken = [SpokenWord(w.text, w.start, w.end, "en") for w in sim.words if w.text]
        found = score(spoken, [Final(e.text, (), 0.0) for e in sim.finals], accents=True)
        assert found.ok, f"{found} in {sim.text}"
    else:
        assert sim.text == sim.spoken
    assert_balance(sim)
    assert not sim.gave_up
    assert not [e for e in sim.events if isinstance(e, AudioLost)]


def assert_balance(sim: Simulation) -> None:
    """Assert that START and END alternate."""
    assert sim.speech == [START, END] * (len(sim.speech) // 2)


def assert_times(sim: Simulation, within: float) -> None:
    """Assert that each word has the times at which it was spoken, `within` seconds."""
    emitted = [w for e in sim.finals for w in e.words]
    assert len(emitted) == len(sim.spoken)
    for word, truth in zip(emitted, [w for w in sim.words if w.text], strict=True):
        assert abs(word.start - truth.start) <= within
        assert abs(word.end - truth.end) <= within


E = TypeVar("E", bound=Decision)


def events(sim: Simulation, kind: type[E]) -> list[E]:
    """Return the reported events of a kind."""
    return [e for e in sim.events if isinstance(e, kind)]


def alone(count: int = 1, *, vad_enabled: bool = True, **traits: Any) -> FailoverEngine:
    """Return an engine on `count` providers `a`, `b`, ... without a simulation around it."""
    names = "abc"[:count]
    policies = Policies()
    health = {name: ProviderHealth(Breaker(policies.breaker)) for name in names}
    route = [ProviderTraits(name=name, **traits) for name in names]
    return FailoverEngine(routing(route), health, policies, HedgeBudget(), vad_enabled=vad_enabled)
