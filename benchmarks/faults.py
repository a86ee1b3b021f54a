"""Measure what each fault costs: words lost or said twice, delay, who serves in the end.

Run `python benchmarks/faults.py` from a checkout with the package installed: two to three minutes
on two idle cores. It prints Markdown. The real plugins talk to fake servers on loopback, on a
virtual clock; the randomness of waits is seeded, so that two runs give the same figures.
"""

from __future__ import annotations

import argparse
import functools
import logging
import math
import multiprocessing
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

from resilient_stt import Event, HedgeFinished, Switched
from resilient_stt.testing import (
    Drop,
    EmptyFinals,
    Fault,
    Garbage,
    HalfOpen,
    Hang,
    InBandError,
    Latency,
    ReferenceSpeech,
    Refuse,
    Stall,
    babble,
    coughs,
    join,
    music,
    reversed_speech,
    run_virtual,
    silence,
)
from resilient_stt.testing.harness.trial import (
    WHISPER,
    Chain,
    FaultPlan,
    Trial,
    extra_delay,
    slowest,
    violations,
)
from resilient_stt.testing.harness.trial import run_trial as rehearse

PROCESSES = 2
"""Runs side by side, each in a loop of its own: no run's draws depend on another's."""
SENTENCE = 1
"""A fault of a stream begins in it: at its start, in the middle of it, near its end."""
BEGINS = 4.0
"""Seconds at which an outage begins, in the middle of a sentence."""
NOISE = 60.0
PAUSE = 1.5
"""Seconds of silence on either side of a noise."""

NOISES = {f.__name__: f for f in (coughs, music, babble, reversed_speech, silence)}


CHAINS = (WHISPER, Chain(model="ink-2"), Chain(("deepgram", "cartesia")))


@dataclass(frozen=True)
class Job:
    """One run: the faults of a chain's first and second provider, and what is said to it."""

    chain: Chain
    first: tuple[Fault, ...] = ()
    second: tuple[Fault, ...] = ()
    speech: str = "once"


@dataclass(frozen=True)
class Figures:
    """What came of a run. Times are seconds since the first frame.

    Attributes:
        lost, twice: Numbers of words.
        other: What else was wrong, for people; empty if nothing.
        late: The delay from the end of each word to its final.
        served: The provider that served in the end.
        texts: When text came.
        events: Each with its time.
        opened: When connections were opened, to each server in the chain's order.
    """

    lost: int
    twice: int
    other: str
    late: tuple[float, ...]
    served: str
    texts: tuple[float, ...]
    events: tuple[tuple[float, Event], ...]
    opened: tuple[tuple[float, ...], ...]


Runs = dict[Job, Figures]


# --- one run, in a process of its own ---


@functools.cache
def speech_named(name: str) -> ReferenceSpeech:
    """`once` or `thrice` the reference speech, or a noise between sentences."""
    english = ReferenceSpeech.load("english")
    if name == "once":
        return english.padded(1.0)
    if name == "thrice":
        return join(english, silence(1.0), english, silence(1.0), english).padded(1.0)
    noise = NOISES[name](NOISE)
    before, after = english.excerpt(0, 1), english.excerpt(2, 3)
    return join(before, silence(PAUSE), noise, silence(PAUSE), after).padded(1.0)


def noise_begins() -> float:
    """Seconds at which the noise begins in speech that has one."""
    return ReferenceSpeech.load("english").excerpt(0, 1).duration + PAUSE


def perform(job: Job) -> Figures:
    """Run a job on a virtual clock."""
    logging.disable()
    random.seed(0)
    return run_virtual(perform_async(job))


async def perform_async(job: Job) -> Figures:
    """Play the speech to a chain of fake providers with faults."""
    corpus = [ReferenceSpeech.load("english")]  # the less they know, the faster noise is no speech
    script = FaultPlan(job.first, job.second)
    return figures(await rehearse(script, speech_named(job.speech), job.chain, corpus=corpus))


def figures(done: Trial) -> Figures:
    """What is kept of a run."""
    found = violations(done.played, accurate=False)
    texts = (at for at, e in done.played.events if e.alternatives and e.alternatives[0].text)
    return Figures(
        lost=found.pop("lost", 0),
        twice=found.pop("twice", 0),
        other=", ".join(found),
        late=done.played.score.late_s,
        served=done.served,
        texts=tuple(texts),
        events=tuple(done.events),
        opened=tuple(tuple(c.opened for c in server.connections) for server in done.servers),
    )


# --- what is run ---


def moments(make: Callable[..., Fault]) -> list[tuple[Fault, ...]]:
    """A fault at the start, in the middle and near the end of a sentence."""
    words = ReferenceSpeech.load("english").sentences[SENTENCE]
    places = [(words[0], 0.0), (words[len(words) // 2], 0.5), (words[-1], 0.9)]
    return [(make(at_word=word, part=part),) for word, part in places]


def stream_faults() -> dict[str, list[tuple[Fault, ...]]]:
    """Faults of an open connection of the first provider, by name."""
    made: dict[str, Callable[..., Fault]] = {
        "stall": Stall,
        "half-open": HalfOpen,
        **{f"in-band {n}": functools.partial(InBandError, n) for n in (400, 402, 429, 500)},
        "garbage unparsable": functools.partial(Garbage, "unparsable"),
        "garbage no_text": functools.partial(Garbage, "no_text"),
        "garbage wrong_types": functools.partial(Garbage, "wrong_types"),
        "empty finals": EmptyFinals,
        "slow by 3 s": functools.partial(Latency, 3.0),
        "drop, reachable again": functools.partial(Drop, connections={0}),
    }
    return {name: moments(make) for name, make in made.items()}


def gone(until: float, kind: type[Refuse | Hang] = Refuse) -> tuple[Fault, ...]:
    """A provider that is cut off at `BEGINS`, and cannot be reached from then on."""
    return Drop(at_time=BEGINS), kind(at_time=BEGINS, until=until)


def both_gone(chain: Chain, seconds: float, kind: type[Refuse | Hang] = Refuse) -> Job:
    """Neither provider can be reached for some seconds."""
    until = BEGINS + seconds
    return Job(chain, gone(until, kind), (kind(until=until),))


def fault_jobs(chain: Chain) -> dict[str, list[Job]]:
    """The rows of the matrix."""
    rows = {"none": [Job(chain)]}
    for name, scripts in stream_faults().items():
        rows[name] = [Job(chain, script) for script in scripts]
    rows["flapping (drops every 3 s)"] = [Job(chain, (Drop(at_audio=3.0),), speech="thrice")]
    rows["refuse"] = [Job(chain, (Refuse(),))]
    rows["hang"] = [Job(chain, (Hang(),))]
    rows["both down for 6 s"] = [both_gone(chain, 6.0)]
    rows["both down for 20 s"] = [both_gone(chain, 20.0)]
    rows["down for 12 s, then back"] = [Job(chain, gone(BEGINS + 12), speech="thrice")]
    return rows


def healthy(chain: Chain, speech: str) -> list[Job]:
    """Runs of the first provider and of the second alone, without faults of theirs."""
    return [Job(chain, speech=speech), Job(chain, (Refuse(),), speech=speech)]


# --- the sections ---


def matrix(run: Callable[[Iterable[Job]], Runs]) -> Iterator[str]:
    """The faults of the first provider and of both, for every chain."""
    jobs = {chain: fault_jobs(chain) for chain in CHAINS}
    faulty = [job for rows in jobs.values() for row in rows.values() for job in row]
    runs = run(faulty + [b for job in faulty for b in healthy(job.chain, job.speech)])
    yield "## Faults"
    yield ""
    yield (
        "Words lost, words said twice, greatest delay of a word beyond the slower provider's "
        f"healthy run, who served in the end. Of {len(speech_named('once').words)} words, or three "
        "times as many where a fault needs long. A fault of a stream is the worst of three: from "
        "the start, the middle and the end of a sentence on. Outages: the time from their end to "
        "the first text, too."
    )
    yield ""
    yield from table(["Fault", *(chain.title for chain in CHAINS)])
    for name in jobs[CHAINS[0]]:
        yield row([name, *(cell(jobs[chain][name], runs) for chain in CHAINS)])


def cell(jobs: Sequence[Job], runs: Runs) -> str:
    """The worst of some runs."""
    done = [runs[job] for job in jobs]
    lost, twice = max(f.lost for f in done), max(f.twice for f in done)
    parts = [
        f"**{lost} lost**" if lost else "0 lost",
        f"**{twice} twice**" if twice else "0 twice",
        f"{max(delay(job, runs) for job in jobs):.1f} s",
        " or ".join(sorted({f.served for f in done})),
        *sorted({f"**{f.other}**" for f in done if f.other}),
    ]
    (script,) = {job.second for job in jobs}
    if script:  # both were down
        back = max(fault.until or 0.0 for fault in script)
        first = min((at for at in done[0].texts if at >= back), default=math.inf)
        parts.append(f"text after {first - back:.2f} s")
    return ", ".join(parts)


def delay(job: Job, runs: Runs) -> float:
    """The greatest delay of a word that came, beyond the slower provider's healthy run."""
    first, second = (runs[b].late for b in healthy(job.chain, job.speech))
    return extra_delay(runs[job].late, slowest([first, second]))


def noises(run: Callable[[Iterable[Job]], Runs]) -> Iterator[str]:
    """What only a voice detector takes for speech."""
    runs = run(Job(chain, speech=noise) for noise in NOISES for chain in CHAINS)
    yield "## Noise"
    yield ""
    yield (
        f"{NOISE:.0f} s of noise between four sentences, nothing wrong with any provider. Second "
        "opinions: the verdicts, and when they came, in seconds after the noise began; in brackets "
        "the seconds of audio that they were given."
    )
    yield ""
    yield from table(
        ["Noise", "Chain", "Lost", "Twice", "Switches", "Convictions", "Second opinions"]
    )
    for job, done in runs.items():
        switches = sum(isinstance(e, Switched) for _, e in done.events)
        told = [(at, e) for at, e in done.events if isinstance(e, HedgeFinished)]
        convictions = sum(e.outcome == "promoted" for _, e in told)
        numbers = (done.lost, done.twice, switches, convictions)
        yield row([job.speech, job.chain.title, *map(str, numbers), opinions(told)])


def opinions(told: Sequence[tuple[float, HedgeFinished]]) -> str:
    """Second opinions, in a few words."""
    if not told:
        return "none"
    listed = ", ".join(f"{at - noise_begins():.1f} {e.outcome}" for at, e in told)
    return f"{len(told)}: {listed} ({sum(e.seconds for _, e in told):.1f} s)"


def connections(run: Callable[[Iterable[Job]], Runs]) -> Iterator[str]:
    """How hard providers are knocked at while none can be reached."""
    seconds = 20.0
    jobs = {(k, c): both_gone(c, seconds, k) for k in (Refuse, Hang) for c in CHAINS}
    runs = run(jobs.values())
    yield "## Connections in an outage"
    yield ""
    yield (
        f"Both providers are gone for {seconds:.0f} s. Connections per minute that each server "
        "saw meanwhile, and the most in any one second."
    )
    yield ""
    yield from table(["Both", "Chain", "First", "Second", "First text after the end"])
    for (kind, chain), job in jobs.items():
        done = runs[job]
        knocks = [knocked(opened, seconds) for opened in done.opened]
        first = min((at for at in done.texts if at >= BEGINS + seconds), default=math.inf)
        after = f"{first - BEGINS - seconds:.2f} s"
        yield row([kind.__name__.lower(), chain.title, *knocks, after])


def knocked(opened: Sequence[float], seconds: float) -> str:
    """Connections per minute in the outage, and the most in one second."""
    meanwhile = [at for at in opened if BEGINS <= at < BEGINS + seconds]
    most = max((sum(at <= other < at + 1 for other in meanwhile) for at in meanwhile), default=0)
    return f"{len(meanwhile) * 60 / seconds:.0f} (at most {most} in a second)"


def table(titles: Sequence[str]) -> list[str]:
    """The head of a table."""
    return [row(titles), "|---" * len(titles) + "|"]


def row(cells: Iterable[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


SECTIONS = {"faults": matrix, "noise": noises, "connections": connections}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main() -> None:
    """Print the sections asked for."""
    parser = Parser(description="Measure what each fault costs; prints Markdown.")
    parser.add_argument("--only", choices=SECTIONS, help="print one section")
    only = parser.parse_args().only
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:

        def run(jobs: Iterable[Job]) -> Runs:
            listed = list(dict.fromkeys(jobs))
            return dict(zip(listed, pool.map(perform, listed), strict=True))

        for name, section in SECTIONS.items():
            if only in (None, name):
                sys.stdout.write("\n".join([*section(run), "", ""]))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
