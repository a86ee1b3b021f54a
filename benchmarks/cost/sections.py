"""The results as sections: a title, what the figures mean, a table, and bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from . import startup
from .alignment import FINALS_PER_SECOND, WORDS, Alignment
from .bill import Bill
from .growth import Growth
from .in_process import MODEL
from .live import Live
from .memory import AUDIO_KIB, UNSETTLED, Memory
from .results import Results
from .rounds import Rounds
from .subjects import ADAPTER, BARE, SUBJECTS
from .way import STREAMS, Way

LEAST = 0.02
"""The least share of the bill that is shown."""

Row = Sequence[str]


@dataclass(frozen=True)
class Plot:
    """Bars, and the name of their file."""

    name: str
    title: str
    unit: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Section:
    """One subject of the page.

    Attributes:
        title: Its heading.
        text: What the figures mean, and how they were measured.
        header: The titles of the table's columns.
        rows: The table's rows.
        plots: What is drawn of it.
    """

    title: str
    text: str
    header: Row
    rows: Sequence[Row]
    plots: Sequence[Plot] = field(default_factory=tuple)


def sections(results: Results) -> Iterator[Section]:
    """Yield a section for each part that was measured."""
    if results.frame:
        yield _frame(results.frame)
    if results.live:
        yield _live(results.live)
    if results.way:
        yield _way(results.way)
    if results.memory:
        yield _memory(results.memory)
    if results.startup:
        yield _startup(results.startup)
    if results.growth:
        yield _growth(results.growth)
    if results.bill:
        yield _bill(results.bill)
    if results.alignment:
        yield _alignment(results.alignment)


def _frame(frame: Rounds) -> Section:
    rows = []
    for subject in frame.figures:
        least, most = frame.spread(subject)
        is_wrapper = subject not in (BARE, MODEL)
        added = f"+{frame.added(subject, BARE):.0f}" if is_wrapper else ""
        times = f"{frame.added_ratio(subject, ADAPTER, BARE):.1f}x" if is_wrapper else ""
        rows.append(
            (subject, f"{frame.median(subject):.0f}", f"{least:.0f} to {most:.0f}", added, times)
        )
    medians = {subject: frame.median(subject) for subject in frame.figures}
    return Section(
        "CPU of a frame, in process",
        "Microseconds of CPU for each frame of 20 ms: 100 streams in one process, in virtual time, "
        "over a provider that costs next to nothing and gives an interim transcript for each word. "
        "*Added* is what a wrapper takes beyond the bare plugin, also in multiples of what "
        "`FallbackAdapter` adds. *On the fallback*: while the primary refuses all connections.",
        ("", "median, µs", "rounds", "added, µs", "of what `FallbackAdapter` adds"),
        rows,
        [Plot("frame", "CPU of a frame of 20 ms, in process", "µs", medians)],
    )


def _live(by_streams: Mapping[int, Live]) -> Section:
    rows, values = [], {}
    for streams, found in by_streams.items():
        for subject in SUBJECTS:
            ratio = found.cpu.ratio(subject, BARE)
            lag = found.lag.median(subject)
            median = found.cpu.median(subject)
            values[f"{subject}, {streams}"] = median
            rows.append((f"{streams}", subject, f"{median:.1f}", f"{ratio:.2f}x", f"{lag:.1f}"))
    return Section(
        "Live streams",
        "The published Cartesia and Deepgram plugins, over websockets to fake servers in another "
        "process, in real time. CPU is that of this process: milliseconds for each second of one "
        "stream. Lag is how much later than asked for a timer fires, 99th percentile; the timer "
        "itself is exact to 1 ms.",
        ("streams", "", "CPU, ms per stream-second", "of the bare plugin", "lag p99, ms"),
        rows,
        [Plot("live", "CPU of a second of a live stream, by number of streams", "ms", values)],
    )


def _way(found: Way) -> Section:
    return Section(
        "An event's way",
        f"Microseconds from the provider's event to the consumer, with {STREAMS} streams in one "
        "process: CPU of the process, which does nothing else, so the machine has no part in it.",
        ("", "p50, µs", "p99, µs"),
        [(s, f"{found.median.median(s):.0f}", f"{found.tail.median(s):.0f}") for s in SUBJECTS],
    )


def _memory(memory: Memory) -> Section:
    rows = [
        (
            subject,
            f"{memory.healthy[subject]:.0f}",
            f"{memory.unsettled[subject]:.0f} ({memory.unsettled[subject] / AUDIO_KIB:.2f}x)"
            if subject in memory.unsettled
            else "",
            f"{memory.hour[subject]:+.0f}",
        )
        for subject in SUBJECTS
    ]
    return Section(
        "Memory of a stream",
        "KiB of a stream, as the difference in the resident memory of a process that opens more of "
        f"them. *Unsettled*: no provider works, so {UNSETTLED:.0f} s of audio are kept, which are "
        f"{AUDIO_KIB:.0f} KiB themselves. *Hour*: what a stream takes more after an hour of speech "
        "than before it. The callers are at different words, and what is kept of a healthy stream "
        "is mostly audio: the sentence without a final yet, and 2 s before it.",
        ("", "healthy, KiB", "unsettled, KiB (of the audio)", "hour, KiB"),
        rows,
        [Plot("memory", "Memory of a healthy stream", "KiB", memory.healthy)],
    )


def _startup(found: Rounds) -> Section:
    rows = [
        (f"`{name}`" if name in _COMMANDS else name, f"{found.median(name):.1f}")
        for name in found.figures
    ]
    return Section(
        "Time to start",
        "Milliseconds in a new process, wall clock. *First frame*: from making the STT to the "
        "event with which an in-process provider answers its first frame.",
        ("", "median, ms"),
        rows,
    )


_COMMANDS = {startup.HELP, startup.LIVEKIT}


def _growth(axes: Sequence[Growth]) -> Section:
    rows = []
    for axis in axes:
        cells = ", ".join(f"{value}: {cpu:.0f}" for value, cpu in axis.cpu.items())
        rows.append((axis.title, cells, f"{axis.factor:.2f}x"))
    return Section(
        "Growth",
        "Microseconds of CPU for each frame of 20 ms with more of something; 1.00x is flat. An "
        "utterance has an interim transcript for each word, which repeats all of its words.",
        ("with more", "µs of a frame", "last to first"),
        rows,
    )


def _bill(bills: Mapping[str, Bill]) -> Section:
    rows = []
    for name, bill in bills.items():
        shares = (
            f"{what} {100 * share:.0f} %" for what, share in bill.shares.items() if share > LEAST
        )
        words = f"{bill.lost} / {bill.repeated}"
        row = (name, f"{bill.pushed:.0f} s", f"{bill.factor:.2f}x", f"{bill.hedges}")
        rows.append((*row, ", ".join(shares), words))
    factors = {name: bill.factor for name, bill in bills.items()}
    return Section(
        "The bill",
        "Audio that the providers received, in multiples of what the caller pushed, over the real "
        "plugins and the kit's servers in virtual time; and who received it in which role. "
        "*Unreported* is what a plugin had not reported yet when its connection broke off: they "
        "report every 5 s.",
        ("", "pushed", "received", "hedges", "of what was pushed", "words lost / repeated"),
        rows,
        [Plot("bill", "Audio received, of audio pushed", "x", factors)],
    )


def _alignment(found: Alignment) -> Section:
    rows = [(case, f"{milliseconds:.2f}") for case, milliseconds in found.trims.items()]
    rows += [
        (f"each of {FINALS_PER_SECOND} finals a second, for {seconds} s", f"{milliseconds:.3f}")
        for seconds, milliseconds in found.final.items()
    ]
    return Section(
        "The seam",
        f"Milliseconds of CPU to trim one final of {WORDS} words against {WORDS} told words, once "
        "for each final of a new connection; and of a final in a stream that gets many.",
        ("", "CPU, ms"),
        rows,
    )
