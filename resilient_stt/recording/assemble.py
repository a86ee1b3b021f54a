"""Makes the document of a recording from its lines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core.events import HedgeOutcome, Role
from .document import (
    VERSION,
    Accounts,
    CountedLateness,
    Loudness,
    Mark,
    RecordedConnection,
    RecordedFinal,
    RecordedWord,
    RecordingDocument,
    RolePeriod,
    Span,
)
from .line_maker import LOUDNESS_STEP, Line
from .narrative import closing, mark, result


def assemble(lines: Iterable[Line]) -> RecordingDocument:
    """Return the document of a stream, or of as much of it as there are lines.

    Raises:
        ValueError: the first line does not say what stream it is, or it is of a later version.
    """
    ordered = iter(lines)
    head = next(ordered, {})
    if head.get("kind") != "stream":
        raise ValueError("this is not a recording: its first line has no kind 'stream'")
    if head["version"] > VERSION:
        raise ValueError(f"this recording has version {head['version']}; only {VERSION} is known")
    assembly = _Assembly(head)
    for line in ordered:
        assembly.add(line)
    return assembly.document()


class _Assembly:
    """What is known of a stream after some of its lines."""

    def __init__(self, head: Line) -> None:
        self._head = head
        self._connections: dict[int, RecordedConnection] = {}
        self._open: set[int] = set()
        self._serving: int | None = None
        self._first_serving = ""
        self._hedge_promoted = False
        """Whether the next switch is to a hedge, which was sent the audio before."""
        self._finals: list[RecordedFinal] = []
        self._report: Line | None = None
        """An event `final_emitted` whose final comes next."""
        self._marks: list[Mark] = []
        self._levels: list[int] = []
        self._levels_from: float | None = None
        self._held: list[tuple[float, float]] = []
        self._speech: list[Span] = []
        self._speaks_since: float | None = None
        self._sent: dict[tuple[str, str], float] = {}
        self._switches: Counter[tuple[str, str, str]] = Counter()
        self._accounts: Mapping[str, Any] | None = None
        self._gave_up = self._ended = False
        self._input_ended: float | None = None
        """The clock at the end of the input."""
        self._live = self._now = self._clock = self._start = 0.0
        self._takers: dict[str, Callable[[Line], None]] = {
            "audio": self._on_audio,
            "opened": self._on_opened,
            "silence": self._on_silence,
            "heard": self._on_heard,
            "failed": self._on_failed,
            "closed": self._on_closed,
            "serving": self._on_serving,
            "voice": self._on_voice,
            "input_ended": self._on_input_ended,
            "gave_up": self._on_gave_up,
            "ended": self._on_ended,
            "final": self._on_final,
            "event": self._on_event,
        }

    def add(self, line: Line) -> None:
        """Take the next line in; lines of an unknown kind are left out."""
        self._clock, live = line["clock"], line["at"]
        self._live = max(self._live, live)
        waited = 0.0 if self._input_ended is None else self._clock - self._input_ended
        self._now = round(live + waited, 3)
        if (take := self._takers.get(line["kind"])) is not None:
            take(line)

    # -- lines, by their kind

    def _on_audio(self, line: Line) -> None:
        levels = line.get("loudness", [])
        if levels and self._levels_from is None:
            self._levels_from = 0.0
        self._levels += levels
        if "held" in line:
            self._held.append((self._now, line["held"]))
        for key, (start, end) in line.get("sent", {}).items():
            self._was_sent(int(key), start, end)

    def _on_opened(self, line: Line) -> None:
        number = line["connection"]
        self._start = min(self._start, line["from"])
        self._open.add(number)
        self._connections[number] = RecordedConnection(
            id=number,
            provider=line["provider"],
            language=line["language"],
            opened=self._now,
            established=None,
            closed=self._now,
            roles=[RolePeriod(at=self._now, role=line["role"])],
            replayed=[],
            texts=[],
            sent=0.0,
            reason="",
            why="",
        )

    def _on_silence(self, line: Line) -> None:
        """Silence behind the session's audio, which makes a recognizer finish, and is paid for."""
        if connection := self._connections.get(line["connection"]):
            self._count_sent(connection, line["seconds"])

    def _on_heard(self, line: Line) -> None:
        if connection := self._connections.get(line["connection"]):
            connection["texts"].append((self._now, line["what"], line["words"]))

    def _on_failed(self, line: Line) -> None:
        connection = self._connections.get(line["connection"])
        if connection is not None and not connection["reason"]:
            connection["reason"] = line["reason"]
            connection["why"] = closing(line["reason"])

    def _on_closed(self, line: Line) -> None:
        number = line["connection"]
        if number in self._open:
            self._open.discard(number)
            self._connections[number]["closed"] = self._now

    def _on_serving(self, line: Line) -> None:
        self._serving = line["connection"]
        self._first_serving = self._first_serving or line["provider"]
        connection = self._connections.get(self._serving)
        if connection and connection["roles"][-1]["role"] != Role.ACTIVE:
            connection["roles"].append(RolePeriod(at=self._now, role=Role.ACTIVE.value))

    def _on_voice(self, line: Line) -> None:
        if line["started"]:
            self._speaks_since = line["from"]
        elif self._speaks_since is not None:
            self._speech.append((self._speaks_since, line["from"]))
            self._speaks_since = None

    def _on_input_ended(self, line: Line) -> None:
        if self._input_ended is None:
            self._input_ended = self._clock

    def _on_gave_up(self, line: Line) -> None:
        self._gave_up = True

    def _on_ended(self, line: Line) -> None:
        self._ended = True

    def _on_final(self, line: Line) -> None:
        end = line["end"] if line["end"] is not None else self._live
        start = line["start"] if line["start"] is not None else end
        words = _words(line, start, end)
        if words:
            start, end = words[0]["start"], words[-1]["end"]
        late = round(max(0.0, self._now - end), 3) if words and words[-1]["timed"] else None
        final = RecordedFinal(
            at=self._now,
            provider=line["provider"],
            connection=self._serving,
            language=line["language"],
            text=line["text"],
            start=start,
            end=end,
            late=late,
            replayed=self._is_replayed(self._serving, start),
            words=words,
        )
        report, self._report = self._report, None
        if report is not None and report["provider"] == line["provider"]:
            final["connection"], final["late"] = report["connection"], report["lateness"]
            final["replayed"] = self._is_replayed(report["connection"], start)
        _set_lateness(final)
        self._finals.append(final)

    def _on_event(self, line: Line) -> None:
        name, number = line["name"], line.get("connection")
        connection = self._connections.get(number) if isinstance(number, int) else None
        if name == "stream_ended":
            self._accounts = line
        elif name == "final_emitted":
            self._report = line
        elif connection is not None and name == "connection_established":
            connection["established"] = self._now
        elif connection is not None and name == "connection_closed":
            connection["reason"], connection["why"] = line["reason"], closing(line["reason"])
            self._on_closed(line)
        elif name == "switched":
            self._switches[line["from_provider"], line["to_provider"], line["reason"]] += 1
        if name == "hedge_finished":
            self._hedge_promoted = line["outcome"] == HedgeOutcome.PROMOTED
        elif name == "switched":
            line, self._hedge_promoted = {**line, "was_hedge": self._hedge_promoted}, False
        if (told := mark(line, self._now)) is not None:
            self._marks.append(told)

    # -- what was sent

    def _was_sent(self, number: int, start: float, end: float) -> None:
        connection = self._connections.get(number)
        if connection is None:
            return
        self._count_sent(connection, end - start)
        before = min(end, connection["opened"])
        if before - start < 0.001:
            return
        spans = connection["replayed"]
        if spans and abs(spans[-1][1] - start) < 0.001:
            spans[-1] = (spans[-1][0], before)
        else:
            spans.append((start, before))

    def _count_sent(self, connection: RecordedConnection, seconds: float) -> None:
        connection["sent"] = round(connection["sent"] + seconds, 3)
        place = connection["provider"], connection["roles"][-1]["role"]
        self._sent[place] = self._sent.get(place, 0.0) + seconds

    def _is_replayed(self, number: int | None, start: float) -> bool:
        connection = None if number is None else self._connections.get(number)
        spans = connection["replayed"] if connection else []
        return any(a - 0.5 <= start < b for a, b in spans)

    # -- the whole

    def document(self) -> RecordingDocument:
        """Return what is known by now."""
        for number in self._open:
            self._connections[number]["closed"] = self._now
        if self._speaks_since is not None:
            self._speech.append((self._speaks_since, self._live))
        accounts = self._complete() if self._accounts else self._counted()
        outcome = self._outcome()
        return RecordingDocument(
            version=VERSION,
            software=self._head["software"],
            stream_id=self._head["stream_id"],
            started=self._head["started"],
            outcome=outcome,  # type: ignore[typeddict-item]
            result=result(outcome, self._marks, self._first_serving, accounts, self._now),
            text=self._head["text"],
            language=self._head["language"],
            providers=self._head["providers"],
            replay_window=self._head["replay_window"],
            late_after=self._head["late_after"],
            start=self._start,
            input_ended=self._live,
            end=self._now,
            clock=self._clock,
            loudness=Loudness(
                start=self._levels_from or 0.0, step=LOUDNESS_STEP, dbfs=self._levels
            ),
            speech=self._speech,
            held=self._held,
            connections=list(self._connections.values()),
            finals=self._finals,
            marks=self._marks,
            accounts=accounts,
            accounts_complete=self._accounts is not None,
        )

    def _outcome(self) -> str:
        if self._accounts is not None:
            return str(self._accounts["reason"])
        if self._gave_up:
            return "gave_up"
        if not self._ended:
            return "crashed"
        return "finished" if self._input_ended is not None else "closed"

    def _complete(self) -> Accounts:
        """The accounts of the stream's end, as they are."""
        assert self._accounts is not None
        names = Accounts.__required_keys__ | Accounts.__optional_keys__
        return {name: self._accounts[name] for name in sorted(names)}  # type: ignore[return-value]

    def _counted(self) -> Accounts:
        """What can be counted without an end."""
        words: Counter[str] = Counter()
        for final in self._finals:
            words[final["provider"]] += len(final["words"])
        by_role: defaultdict[str, float] = defaultdict(float)
        for (_, role), sent in self._sent.items():
            by_role[role] += sent
        return Accounts(
            pushed=self._live,
            lost=sum(m["event"]["seconds"] for m in self._marks if m["kind"] == "audio_lost"),
            hedged=round(by_role[Role.HEDGE], 3),
            probed=round(by_role[Role.PROBE], 3),
            sent=[
                {"provider": provider, "role": role, "seconds": round(sent, 3)}
                for (provider, role), sent in self._sent.items()
            ],
            words=dict(words),
            switches=[
                {"from_provider": a, "to_provider": b, "reason": why, "count": count}
                for (a, b, why), count in self._switches.items()
            ],
            lateness=_lateness([f["late"] for f in self._finals if f["late"] is not None]),
        )


def _words(line: Line, start: float, end: float) -> list[RecordedWord]:
    """The words of a final; those without times are spread evenly over it."""
    if line["words"]:
        return [
            RecordedWord(
                text=text if isinstance(text, str) else "",
                length=len(text) if isinstance(text, str) else text,
                start=begin,
                end=stop,
                timed=True,
                late=None,
            )
            for text, begin, stop in line["words"]
        ]
    texts = line["text"].split() or [""] * line["count"]
    step = (end - start) / len(texts) if texts else 0.0
    return [
        RecordedWord(
            text=text,
            length=len(text),
            start=round(start + index * step, 3),
            end=round(start + (index + 1) * step, 3),
            timed=False,
            late=None,
        )
        for index, text in enumerate(texts)
    ]


def _set_lateness(final: RecordedFinal) -> None:
    """Say of each word how late it came, counted from its own end."""
    late = final["late"]
    for word in final["words"]:
        word["late"] = None if late is None else round(late + final["end"] - word["end"], 3)


def _lateness(known: list[float]) -> CountedLateness:
    ordered = sorted(known)
    if not ordered:
        return CountedLateness(p50=0.0, p99=0.0, worst=0.0, count=0)
    last = len(ordered) - 1

    def at(share: float) -> float:
        return ordered[min(last, round(share * last))]

    return CountedLateness(p50=at(0.5), p99=at(0.99), worst=ordered[-1], count=len(ordered))
