"""What finals without times commit: as much as is certain, and never more."""

from __future__ import annotations

import itertools
import random

import pytest

from resilient_stt.core.messages import Emit, EventKind, OpenConnection, ProviderEvent
from resilient_stt.core.policy import ReplayPolicy

from ...support.promises import VOCABULARY
from ...support.simulator import RATE, Drop, Recognizer, Simulation, Spoken, speak

POLICY = ReplayPolicy()
FRAME = 0.1
BACKUP = Recognizer(name="b")


def breathless(seconds: float, seed: int) -> list[Spoken]:
    """Return speech without a pause: about three words a second, none of them twice."""
    dice = random.Random(seed)
    count = round(seconds * 3)
    words = dice.sample(VOCABULARY, count)
    return speak(
        *((w, 0.02 if i else 0.5, dice.choice([0.2, 0.3, 0.35, 0.4])) for i, w in enumerate(words))
    )


def replays(sim: Simulation) -> list[tuple[float, float]]:
    """Return when connections were opened in place of others, and from where, in seconds."""
    return [
        (now - sim.base, command.start / RATE)
        for now, command in sim.commands
        if isinstance(command, OpenConnection) and command.connection
    ]


def finals_before(sim: Simulation, second: float) -> list[tuple[float, str]]:
    """Return when finals had come from the first connection, and their texts."""
    return [
        (now - sim.base, message.event.text)
        for now, message in sim.inputs
        if isinstance(message, ProviderEvent)
        and message.connection == 0
        and message.event.kind is EventKind.FINAL
        and now - sim.base <= second
    ]


def start_of(sim: Simulation, word: str) -> float:
    return next(w.start for w in sim.words if w.text == word)


def emitted(sim: Simulation) -> list[str]:
    return [
        word
        for _, command in sim.commands
        if isinstance(command, Emit) and command.kind is EventKind.FINAL
        for word in command.text.split()
    ]


DROPS = [3.1, 6.4, 9.7, 12.2, 15.9, 19.3]
MODES = list(itertools.product([True, False], [True, False], [0.2, 1.0]))


@pytest.mark.parametrize("after", DROPS)
@pytest.mark.parametrize(("vad_enabled", "turns", "latency"), MODES)
def test_a_replay_begins_one_sentence_back(
    vad_enabled: bool, turns: bool, latency: float, after: float
) -> None:
    """In speech without a pause, a replay begins with the last final's words, not with the call."""
    untimed = Recognizer(
        times="none",
        most=12,
        latency=latency,
        faults=[Drop(after)] * 4,
        end_of_turn_timeout=6.0 * turns,
    )
    words = breathless(22.0, seed=round(after * 10))
    sim = Simulation(words, [untimed, BACKUP], vad_enabled=vad_enabled).run()
    assert emitted(sim) == [w.text for w in words]
    now, start = replays(sim)[0]
    finals = finals_before(sim, now)
    if finals:
        first_word = finals[-1][1].split()[0]
        assert start >= start_of(sim, first_word) - FRAME


@pytest.mark.parametrize("after", DROPS)
@pytest.mark.parametrize("latency", [0.3, 1.5, 3.0])
@pytest.mark.parametrize("vad_enabled", [True, False])
def test_without_interim_transcripts_a_replay_begins_a_bounded_time_back(
    vad_enabled: bool, latency: float, after: float
) -> None:
    """A final alone still shows what its provider had processed `untimed_final_reach` before."""
    untimed = Recognizer(
        times="none", most=12, latency=latency, faults=[Drop(after)] * 4, interims=False
    )
    words = breathless(22.0, seed=round(after * 10))
    sim = Simulation(words, [untimed, BACKUP], vad_enabled=vad_enabled).run()
    assert emitted(sim) == [w.text for w in words]
    now, start = replays(sim)[0]
    finals = finals_before(sim, now)
    if finals:
        came, _ = finals[-1]
        assert start >= came - POLICY.untimed_final_reach - FRAME
