"""Measure what each fault costs: words lost or repeated, delay, and who serves at the end.

Run `python benchmarks/faults.py` from a checkout with the package installed; it takes two to three
minutes on two idle cores and prints Markdown. The real plugins connect to fake servers on loopback,
in virtual time. The random waits are seeded, so two runs give the same figures.
"""

from __future__ import annotations

import argparse
import functools
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
from resilient_stt.testing.harness.logs import no_logging
from resilient_stt.testing.harness.trial import (
    WHISPER,
    Chain,
    FaultPlan,
    Trial,
    extra_delay,
    run_trial,
    slowest,
    violations,
)

PROCESSES = 2
"""Each run has a loop and a seed of its own, so runs in parallel do not change each other."""
SENTENCE = 1
"""The sentence in which faults of a stream begin: at its start, in its middle and near its end."""
OUTAGE_BEGIN = 4.0
"""The second at which an outage begins, in the middle of a sentence."""
NOISE = 60.0
"""Seconds of noise."""
PAUSE = 1.5
"""Seconds of silence on either side of a noise."""

NOISES = {f.__name__: f for f in (coughs, music, babble, reversed_speech, silence)}


CHAINS = (WHISPER, Chain(model="ink-2"), Chain(("deepgram", "cartesia")))


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        first, second: The faults of the chain's first provider and of its second.
        speech: What is played, as `speech_named` takes it.
    """

    chain: Chain
    first: tuple[Fault, ...] = ()
    second: tuple[Fault, ...] = ()
    speech: str = "once"


@dataclass(frozen=True)
class Figures:
    """The figures of a run. Times are seconds since the first frame.

    Attributes:
        lost, repeated: Numbers of words.
        other: Names of other promises that were broken; empty if there are none.
        late: The delay from the end of each word to its final.
        served: The provider that served at the end.
        texts: The times at which text came.
        events: The events, each with its time.
        opened: The times at which connections were opened, by server in the chain's order.
    """

    lost: int
    repeated: int
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
    """Return the reference speech `once` or `thrice`, or a noise between sentences of it."""
    english = ReferenceSpeech.load("english")
    if name == "once":
        return english.padded(1.0)
    if name == "thrice":
        return join(english, silence(1.0), english, silence(1.0), english).padded(1.0)
    noise = NOISES[name](NOISE)
    before, after = english.excerpt(0, 1), english.excerpt(2, 3)
    return join(before, silence(PAUSE), noise, silence(PAUSE), after).padded(1.0)


def noise_begin() -> float:
    """The second at which the noise begins in a speech that has one."""
    return ReferenceSpeech.load("english").excerpt(0, 1).duration + PAUSE


def run_job(job: Job) -> Figures:
    """Run a job in virtual time."""
    random.seed(0)
    with no_logging():
        return run_virtual(run_job_async(job))


async def run_job_async(job: Job) -> Figures:
    """Play the speech of a job to its chain of fake providers."""
    # The fewer recordings the fake providers know, the faster they tell noise from speech.
    corpus = [ReferenceSpeech.load("english")]
    plan = FaultPlan(job.first, job.second)
    trial = await run_trial(plan, speech_named(job.speech), job.chain, corpus=corpus)
    return figures_of(trial)


def figures_of(trial: Trial) -> Figures:
    """Return the figures of a run."""
    found = violations(trial.played, accurate=False)
    texts = (at for at, e in trial.played.events if e.alternatives and e.alternatives[0].text)
    return Figures(
        lost=found.pop("lost", 0),
        repeated=found.pop("twice", 0),
        other=", ".join(found),
        late=trial.played.score.late_s,
        served=trial.served,
        texts=tuple(texts),
        events=tuple(trial.events),
        opened=tuple(tuple(c.opened for c in server.connections) for server in trial.servers),
    )


# --- the jobs ---


def moments(make: Callable[..., Fault]) -> list[tuple[Fault, ...]]:
    """Return a fault at the start, in the middle and near the end of a sentence."""
    words = ReferenceSpeech.load("english").sentences[SENTENCE]
    places = [(words[0], 0.0), (words[len(words) // 2], 0.5), (words[-1], 0.9)]
    return [(make(at_word=word, part=part),) for word, part in places]


def stream_faults() -> dict[str, list[tuple[Fault, ...]]]:
    """Return the faults of open connections of the first provider, by name."""
    made: dict[str, Callable[..., Fault]] = {
        "stall": Stall,
        "half-open": HalfOpen,
        **{f"in-band {n}": functools.partial(InBandError, n) for n in (400, 402, 429, 500)},
        "garbage unparsable": functools.partial(Garbage, "unparsable"),
        "garbage no_text": functools.partial(Garbage, "no_text"),
        "garbage wrong_types": functools.partial(Garbage, "wrong_types"),
        "empty finals": EmptyFinals,
        "3 s slower": functools.partial(Latency, 3.0),
        "drop once": functools.partial(Drop, connections={0}),
    }
    return {name: moments(make) for name, make in made.items()}


def down(until: float, kind: type[Refuse | Hang] = Refuse) -> tuple[Fault, ...]:
    """Return the faults of a provider that is down from `OUTAGE_BEGIN` on."""
    return Drop(at_time=OUTAGE_BEGIN), kind(at_time=OUTAGE_BEGIN, until=until)


def both_down(chain: Chain, seconds: float, kind: type[Refuse | Hang] = Refuse) -> Job:
    """Return a job in which both providers are down for some seconds."""
    until = OUTAGE_BEGIN + seconds
    return Job(chain, down(until, kind), (kind(until=until),))


def fault_jobs(chain: Chain) -> dict[str, list[Job]]:
    """Return the jobs of each row of the table of faults."""
    rows = {"none": [Job(chain)]}
    for name, scripts in stream_faults().items():
        rows[name] = [Job(chain, script) for script in scripts]
    rows["flapping (drops every 3 s)"] = [Job(chain, (Drop(at_audio=3.0),), speech="thrice")]
    rows["refuse"] = [Job(chain, (Refuse(),))]
    rows["hang"] = [Job(chain, (Hang(),))]
    rows["both down for 6 s"] = [both_down(chain, 6.0)]
    rows["both down for 20 s"] = [both_down(chain, 20.0)]
    rows["down for 12 s, then back"] = [Job(chain, down(OUTAGE_BEGIN + 12), speech="thrice")]
    return rows


def healthy(chain: Chain, speech: str) -> list[Job]:
    """Return healthy runs of a chain: one of its first provider and one of its second."""
    return [Job(chain, speech=speech), Job(chain, (Refuse(),), speech=speech)]


# --- the sections ---


def fault_section(run: Callable[[Iterable[Job]], Runs]) -> Iterator[str]:
    """Yield the table of faults of the first provider and of both, for every chain."""
    jobs = {chain: fault_jobs(chain) for chain in CHAINS}
    faulty = [job for rows in jobs.values() for row in rows.values() for job in row]
    runs = run(faulty + [b for job in faulty for b in healthy(job.chain, job.speech)])
    yield "## Faults"
    yield ""
    yield (
        "Words lost, words repeated, greatest delay of a word beyond a healthy run of the slower "
        "provider, and the provider that served at the end. The speech has "
        f"{len(speech_named('once').words)} words, or three times as many if a fault takes long. "
        "For a fault of a stream, the worst of three runs is shown: the fault begins at the start, "
        "in the middle or near the end of a sentence. For an outage, the time from its end to the "
        "first text is shown, too."
    )
    yield ""
    yield from table(["Fault", *(chain.title for chain in CHAINS)])
    for name in jobs[CHAINS[0]]:
        yield row([name, *(cell(jobs[chain][name], runs) for chain in CHAINS)])


def cell(jobs: Sequence[Job], runs: Runs) -> str:
    """Return the worst figures of some runs."""
    done = [runs[job] for job in jobs]
    lost, repeated = max(f.lost for f in done), max(f.repeated for f in done)
    parts = [
        f"**{lost} lost**" if lost else "0 lost",
        f"**{repeated} repeated**" if repeated else "0 repeated",
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
    """Return the greatest delay of a word beyond a healthy run of the slower provider."""
    first, second = (runs[b].late for b in healthy(job.chain, job.speech))
    return extra_delay(runs[job].late, slowest([first, second]))


def noise_section(run: Callable[[Iterable[Job]], Runs]) -> Iterator[str]:
    """Yield the table of noises that voice activity detection takes for speech."""
    runs = run(Job(chain, speech=noise) for noise in NOISES for chain in CHAINS)
    yield "## Noise"
    yield ""
    yield (
        f"{NOISE:.0f} s of noise between four sentences, with healthy providers. Hedges: when each "
        "one finished, in seconds after the noise began, and its outcome; in brackets the seconds "
        "of audio that they were sent."
    )
    yield ""
    yield from table(["Noise", "Chain", "Lost", "Repeated", "Switches", "Promoted", "Hedges"])
    for job, done in runs.items():
        switches = sum(isinstance(e, Switched) for _, e in done.events)
        hedges = [(at, e) for at, e in done.events if isinstance(e, HedgeFinished)]
        promoted = sum(e.outcome == "promoted" for _, e in hedges)
        numbers = (done.lost, done.repeated, switches, promoted)
        yield row([job.speech, job.chain.title, *map(str, numbers), hedge_cell(hedges)])


def hedge_cell(hedges: Sequence[tuple[float, HedgeFinished]]) -> str:
    """Return the number of hedges, their outcomes and their cost."""
    if not hedges:
        return "none"
    listed = ", ".join(f"{at - noise_begin():.1f} {e.outcome}" for at, e in hedges)
    return f"{len(hedges)}: {listed} ({sum(e.seconds for _, e in hedges):.1f} s)"


def connection_section(run: Callable[[Iterable[Job]], Runs]) -> Iterator[str]:
    """Yield the table of how many connections are attempted while both providers are down."""
    seconds = 20.0
    jobs = {(k, c): both_down(c, seconds, k) for k in (Refuse, Hang) for c in CHAINS}
    runs = run(jobs.values())
    yield "## Connections in an outage"
    yield ""
    yield (
        f"Both providers are down for {seconds:.0f} s. The table has the connections per minute "
        "that each server gets meanwhile, and the most in any one second."
    )
    yield ""
    yield from table(
        ["Fault", "Chain", "First provider", "Second provider", "First text after the end"]
    )
    for (kind, chain), job in jobs.items():
        done = runs[job]
        rates = [rate_of(opened, seconds) for opened in done.opened]
        first = min((at for at in done.texts if at >= OUTAGE_BEGIN + seconds), default=math.inf)
        after = f"{first - OUTAGE_BEGIN - seconds:.2f} s"
        yield row([kind.__name__.lower(), chain.title, *rates, after])


def rate_of(opened: Sequence[float], seconds: float) -> str:
    """Return the connections per minute of an outage, and the most in one second."""
    meanwhile = [at for at in opened if OUTAGE_BEGIN <= at < OUTAGE_BEGIN + seconds]
    most = max((sum(at <= other < at + 1 for other in meanwhile) for at in meanwhile), default=0)
    return f"{len(meanwhile) * 60 / seconds:.0f} (at most {most} in one second)"


def table(titles: Sequence[str]) -> list[str]:
    """Return the header lines of a table."""
    return [row(titles), "|---" * len(titles) + "|"]


def row(cells: Iterable[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


SECTIONS = {
    "faults": fault_section,
    "noise": noise_section,
    "connections": connection_section,
}


class Parser(argparse.ArgumentParser):
    """Prints errors as one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main() -> None:
    """Print the section asked for, or all of them."""
    parser = Parser(description="Measure what each fault costs; prints Markdown.")
    parser.add_argument("--only", choices=SECTIONS, help="print one section")
    only = parser.parse_args().only
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:

        def run(jobs: Iterable[Job]) -> Runs:
            listed = list(dict.fromkeys(jobs))
            return dict(zip(listed, pool.map(run_job, listed), strict=True))

        for name, section in SECTIONS.items():
            if only in (None, name):
                sys.stdout.write("\n".join([*section(run), "", ""]))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
