"""Growth: what a frame costs with more streams, providers, words without a final, minutes of call.

A wrapper whose frame costs more the longer a call lasts is found out only in production.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import in_process
from .rehearsed import FRAMES_PER_SECOND, of_silence, of_speech
from .rounds import alternate
from .subjects import OURS, WITHOUT_VAD


@dataclass(frozen=True, slots=True)
class Growth:
    """What a frame costs along one axis.

    Attributes:
        title: What grows.
        cpu: Microseconds of CPU of a frame, by the value on the axis.
    """

    title: str
    cpu: dict[int, float]

    @property
    def factor(self) -> float:
        """What it costs at the end of the axis, in multiples of what it costs at its beginning."""
        values = [*self.cpu.values()]
        return values[-1] / values[0]


def measure(rounds: int = 3) -> list[Growth]:
    """Measure every axis: the values in turn, in rounds."""
    return [
        _axis("streams", (10, 50, 200), rounds, lambda n: _speech(streams=n, seconds=500 / n)),
        _axis("providers", (1, 2, 4, 8), rounds, lambda n: _speech(providers=n)),
        _axis("words of an utterance", (10, 50, 150), rounds, _utterance),
        _axis("minutes of a call", (1, 10, 30), rounds, _call),
    ]


def _axis(
    title: str, values: Sequence[int], rounds: int, measure_at: Callable[[int], float]
) -> Growth:
    names = {f"{value}": value for value in values}
    found = alternate([*names], rounds, lambda name: measure_at(names[name]))
    return Growth(title, {value: found.median(name) for name, value in names.items()})


def _speech(*, streams: int = 20, seconds: float = 20.0, providers: int = 2) -> float:
    driven = in_process.run(
        OURS, of_speech(), streams=streams, seconds=seconds, providers=providers
    )
    return _frame(driven.cpu, driven.audio)


def _utterance(words: int) -> float:
    """Of a stream whose provider gives an interim transcript for each word, and few finals."""
    rehearsal = of_silence(words)
    seconds = max(60.0, rehearsal.samples / 16_000)
    driven = in_process.run(WITHOUT_VAD, rehearsal, streams=5, seconds=seconds)
    return _frame(driven.cpu, driven.audio)


def _call(minutes: int) -> float:
    """Of the last minute of a call of so many minutes."""
    driven = in_process.run(
        OURS, of_speech(), streams=2, seconds=60.0, warm_up=60.0 * (minutes - 1) + 1.0
    )
    return _frame(driven.cpu, driven.audio)


def _frame(cpu: float, audio: float) -> float:
    return 1e6 * cpu / (audio * FRAMES_PER_SECOND)
