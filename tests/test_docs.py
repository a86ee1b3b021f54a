"""What the documentation names exists: files, functions, policies' fields, events, links."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

import resilient_stt
from resilient_stt import Event, Policies
from resilient_stt.core import events
from resilient_stt.core.events import BreakerState
from resilient_stt.core.health.breaker import TRANSITIONS, BreakerSignal
from resilient_stt.core.policy import ProviderTraits
from resilient_stt.metrics.instruments import ALL, Kind
from resilient_stt.metrics.prometheus import name_of

from .support.scripts import ROOT

DOCS = [
    ROOT / name
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
    if (ROOT / name).exists()
] + sorted((ROOT / "docs").glob("*.md"))
ARCHITECTURE = ROOT / "docs" / "architecture.md"
EVENTS = ROOT / "docs" / "events.md"

each_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)

REFERENCE = re.compile(r"([\w./-]+\.py)(?:: ([A-Za-z_][\w.]*))?")
"""`core/engine.py`, or `core/engine.py: FailoverEngine.handle`."""
DATA = re.compile(r"(?![/.])([\w.-]+/)+([\w-]+\.(json|md|toml|txt|ya?ml))?")
"""`tests/schedules/NAME.json`, or a folder: `tests/schedules/`."""


def spans(doc: Path) -> Iterator[str]:
    """The inline code of a page, each piece on one line; code blocks are left out."""
    text = re.sub(r"^ *```.*?^ *```", "", doc.read_text(encoding="utf-8"), flags=re.M | re.S)
    for span in re.findall(r"`([^`]+)`", text):
        yield re.sub(r"\s+", " ", span)


def found(path: str) -> Path | None:
    """A file or folder by its path in the repository or in the package."""
    return next((p for p in (ROOT / path, ROOT / "resilient_stt" / path) if p.exists()), None)


@cache
def names(file: Path) -> set[str]:
    """Everything that a module defines: `function`, `CONSTANT`, `Class`, `Class.member`."""
    return set(_defined(ast.parse(file.read_text(encoding="utf-8")).body, ""))


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from _defined(node.body, f"{prefix}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
            case ast.Assign(targets=targets):
                yield from (prefix + t.id for t in targets if isinstance(t, ast.Name))


@each_doc
def test_every_file_and_function_exists(doc: Path) -> None:
    """A page names no file, folder, function or class that was moved or renamed."""
    wrong = []
    for span in spans(doc):
        if match := REFERENCE.fullmatch(span):
            path, name = match.groups()
            file = found(path)
            if file is None or (name and name not in names(file)):
                wrong.append(span)
        elif DATA.fullmatch(span) and found(span) is None:
            wrong.append(span)
    assert not wrong


@each_doc
def test_every_field_of_a_policy_exists(doc: Path) -> None:
    """`WatchdogPolicy.hedging` and `watchdog.hedging` are fields with those names."""
    owners: dict[str, Any] = {"ProviderTraits": ProviderTraits}
    for section in dataclasses.fields(Policies):
        policy = getattr(Policies(), section.name)
        owners |= {section.name: policy, type(policy).__name__: policy}
    wrong = [
        span
        for span in spans(doc)
        if (match := re.match(r"(\w+)\.(?!py\b)(\w+)", span))
        and (owner := owners.get(match[1])) is not None
        and match[2] not in {f.name for f in dataclasses.fields(owner)}
    ]
    assert not wrong


@each_doc
def test_every_nox_session_exists(doc: Path) -> None:
    """`nox -s NAME` names a function of the noxfile."""
    text = doc.read_text(encoding="utf-8")
    asked = {name for found in re.findall(r"nox -s ([a-z ]+)", text) for name in found.split()}
    assert asked <= names(ROOT / "noxfile.py")


@each_doc
def test_every_link_leads_somewhere(doc: Path) -> None:
    """A relative link leads to a file that exists, and its anchor to a heading of that page."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", doc.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        page = doc.parent / path if path else doc
        if not page.exists() or (anchor and anchor not in anchors(page)):
            wrong.append(target)
    assert not wrong


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def rows(page: Path, header: str) -> list[list[str]]:
    """The cells of the table with this header."""
    table = page.read_text(encoding="utf-8").split(f"{header}\n")[1].split("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[1:]
    ]


def test_the_reference_has_every_public_name() -> None:
    """`api.md` has what the package exports, each name once, and nothing else."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: resilient_stt\.(\w+)$", page, re.M)) == resilient_stt.__all__


def test_many_changes_have_a_place() -> None:
    """`architecture.md` says for each kind of change where it belongs."""
    places = [row[1] for row in rows(ARCHITECTURE, "| I want to change ... | File and function |")]
    assert len(places) >= 20
    assert all(REFERENCE.search(place) for place in places)


def test_the_breaker_s_table_is_the_code_s() -> None:
    """`architecture.md` shows the transitions as they are."""
    signals = list(BreakerSignal)
    header = "| | " + " | ".join(f"`{signal}`" for signal in signals) + " |"
    shown = rows(ARCHITECTURE, header)
    assert shown == [
        [f"`{state}`", *(f"`{TRANSITIONS[state, signal]}`" for signal in signals)]
        for state in BreakerState
    ]


def test_every_event_is_listed_with_its_fields() -> None:
    """No event and no field of one is missing in the table of events, and none is invented."""
    listed = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2] if len(row) > 2 else ""))
        for kind in ("Event", "Detail")
        for row in rows(EVENTS, f"| {kind} | When it is emitted | Fields |")
    }
    del listed["stt_availability_changed"]  # LiveKit's own
    assert listed == {
        event.name: {f.name for f in dataclasses.fields(event)} - {"at", "stream_id"}
        for event in get_args(Event)
    }


def test_every_metric_is_listed() -> None:
    """With the name that Prometheus shows, its labels and what it is; nothing else is listed."""
    listed = rows(ROOT / "docs" / "operating.md", "| Metric | Labels | What it is |")
    assert [row for row in listed if len(row) == 3] == [
        [
            f"`{name_of(i)}{'_total' * (i.kind is Kind.COUNTER)}`",
            ", ".join(f"`{label}`" for label in i.labels),
            i.description,
        ]
        for i in ALL
    ]


def test_every_reason_is_listed() -> None:
    """The enums of the events with all their values; all of them are exported."""
    listed = {
        row[0].strip("`"): re.findall(r"`(\w+)`", row[2])
        for row in rows(EVENTS, "| Enum | In | Values |")
    }
    enums = {k for k in vars(events).values() if isinstance(k, type) and issubclass(k, StrEnum)}
    assert listed == {kind.__name__: list(map(str, kind)) for kind in enums - {StrEnum}}
    assert set(listed) <= set(resilient_stt.__all__)
