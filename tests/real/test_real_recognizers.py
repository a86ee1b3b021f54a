"""Real speech and real recognizers: what a failover costs beside what they mishear anyway.

Two recognizers that cut and write differently stand behind the protocols of Cartesia and Deepgram.
`nox -s real` runs these tests; they need the extra `local`.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from livekit.agents.utils import http_context

from resilient_stt import MemoryHealth, ResilientSTT
from resilient_stt.local.local_engine import make_engine
from resilient_stt.testing import (
    Accent,
    Drop,
    FakeCartesia,
    FakeDeepgram,
    Fault,
    Played,
    ReferenceSpeech,
    Refuse,
    from_,
    human_speech,
    local_recognizer,
    play,
    read_speech,
    run_virtual,
)
from resilient_stt.testing.harness.logs import no_logging

from ..support.remembering_engine import RememberingEngine

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]

if "CI_REQUIRES_LOCAL" not in os.environ:
    pytest.importorskip("moonshine_voice", reason="needs the extra local")

ALLOWED = 0.01
"""How much higher than that of the worse recognizer the word error rate may be."""
DROPS = 25
"""Drops of each kind. There are four kinds."""
TWO_CITIES = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was "
    "the age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it "
    "was the season of light, it was the season of darkness, it was the spring of hope, it "
    "was the winter of despair, we had everything before us, we had nothing before us, we "
    "were all going direct to heaven, we were all going direct the other way: in short, the "
    "period was so far like the present period, that some of its noisiest authorities "
    "insisted on its being received, for good or for evil, in the superlative degree of "
    "comparison only."
)
"""What is spoken in a recording of the recognizer's wheel: sentences that begin alike."""


@dataclass(frozen=True)
class Recording:
    """A recording, and how wrong each recognizer alone is.

    Attributes:
        speech: With a second of silence behind it.
        rates: The word error rates without a fault, by provider.
    """

    speech: ReferenceSpeech
    rates: dict[str, float]


@pytest.fixture(scope="module")
def engine() -> RememberingEngine:
    return RememberingEngine(make_engine("moonshine", ""))


async def hear(
    engine: RememberingEngine,
    speech: ReferenceSpeech,
    chain: Iterable[str],
    faults: Iterable[Fault] = (),
) -> Played:
    """Play speech to a chain of providers, by name; the first has the faults."""
    servers = {
        "cartesia": FakeCartesia(recognizer=local_recognizer(engine, pause=0.45)),
        "deepgram": FakeDeepgram(
            recognizer=local_recognizer(engine, pause=0.2),
            accent=Accent(casing="lower", punctuates=False),
        ),
    }
    first, *_ = chain = list(chain)
    servers[first].faults = faults
    async with http_context.open(), servers["cartesia"], servers["deepgram"]:
        providers = [servers[name].stt() for name in chain]
        mine = ResilientSTT(providers, health=MemoryHealth(isolated=True))
        played = await play(mine, speech)
        await mine.aclose()
    assert bool(servers[first].triggered) is bool(servers[first].faults)
    return played


def heard(
    engine: RememberingEngine,
    speech: ReferenceSpeech,
    chain: Iterable[str],
    faults: Iterable[Fault] = (),
) -> Played:
    """Play in virtual time: decoding takes none."""
    random.seed(0)  # the waits of outages are drawn
    with no_logging():
        played = run_virtual(hear(engine, speech, chain, faults))
    assert played.error is None
    assert played.finished
    return played


def alone(engine: RememberingEngine, speech: ReferenceSpeech) -> Recording:
    """Have each recognizer transcribe speech without a fault."""
    rates = {
        name: heard(engine, speech, [name]).word_error_rate for name in ("cartesia", "deepgram")
    }
    return Recording(speech, rates)


@pytest.fixture(scope="module")
def austen(engine: RememberingEngine) -> Recording:
    return alone(engine, human_speech().padded(1.0))


@pytest.fixture(scope="module")
def two_cities(engine: RememberingEngine) -> Recording:
    folder = Path(str(importlib.import_module("moonshine_voice").__file__)).parent / "assets"
    return alone(engine, read_speech(folder / "two_cities.wav", TWO_CITIES).padded(1.0))


def drop_rates(
    engine: RememberingEngine, recording: Recording, first: str, *, stays_down: bool
) -> list[float]:
    """The word error rate for each of some drops, at moments spread evenly over the speech."""
    chain = sorted(recording.rates, key=lambda name: name != first)
    after = [Refuse(connections=from_(1))] if stays_down else []
    kind = 2 * (first == "deepgram") + stays_down  # the four kinds share no moment
    step = (recording.speech.duration - 1.5) / DROPS
    moments = (0.25 + (number + kind / 4) * step for number in range(DROPS))
    return [
        heard(
            engine, recording.speech, chain, [Drop(at_audio=at, connections={0}), *after]
        ).word_error_rate
        for at in moments
    ]


def report(
    capsys: pytest.CaptureFixture[str], what: str, recording: Recording, rates: list[float]
) -> float:
    """Print the figures; returns the mean of the rates."""
    mean = sum(rates) / len(rates)
    undisturbed = ", ".join(f"{name} {rate:.2%}" for name, rate in recording.rates.items())
    with capsys.disabled():
        line = f"word error rate {mean:.2%}, at most {max(rates):.2%} (undisturbed: {undisturbed})"
        sys.stdout.write(f"\n{what}: {len(rates)} drops, {line}\n")
    return mean


@pytest.mark.parametrize("stays_down", [False, True], ids=["once", "down"])
@pytest.mark.parametrize("first", ["cartesia", "deepgram"])
def test_a_drop_costs_no_words(
    engine: RememberingEngine,
    austen: Recording,
    capsys: pytest.CaptureFixture[str],
    first: str,
    stays_down: bool,
) -> None:
    """Of 25 drops, the mean word error rate is at most a point above the worse recognizer's."""
    rates = drop_rates(engine, austen, first, stays_down=stays_down)
    mean = report(capsys, f"{first} {'down' if stays_down else 'once'}", austen, rates)
    assert max(austen.rates.values()) < 0.1
    assert mean <= max(austen.rates.values()) + ALLOWED


def test_sentences_that_begin_alike(
    engine: RememberingEngine, two_cities: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same holds where the words at the seam come again and again."""
    rates = drop_rates(engine, two_cities, "cartesia", stays_down=True)
    mean = report(capsys, "two cities, cartesia down", two_cities, rates)
    assert mean <= max(two_cities.rates.values()) + ALLOWED
