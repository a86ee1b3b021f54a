"""Write the parts of the documentation that the code says better: settings and state diagrams.

    python scripts/generated_docs.py           # writes them between their markers
    python scripts/generated_docs.py --check   # exit status 1 if a page says something else

`docs/settings.md` has every field of the policies and of a configuration, with its docstring.
`docs/how-it-decides.md` has the state diagrams: of a breaker from its table of transitions, of
hedging and of a stream from what their modules draw in their docstrings. The README has some rows
of the table in `docs/comparison.md`.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from resilient_stt.config.models import POLICIES, HealthSection, ProviderBase, RecordSection, Top
from resilient_stt.config.schema import field_docs
from resilient_stt.core.events import BreakerState
from resilient_stt.core.health.breaker import TRANSITIONS
from resilient_stt.core.policy import Pace, ProviderTraits, Seconds

ROOT = Path(__file__).parents[1]
CORE = ROOT / "resilient_stt" / "core"
COMMAND = "python scripts/generated_docs.py"

# -- settings

TYPES: dict[Any, str] = {
    Seconds: "duration",
    float: "number",
    int: "whole number",
    bool: "`true` or `false`",
    Pace: "`burst`, `rate`",
}
HEADER = "| Setting | Type | Default | Unit | What it does |\n|---|---|---|---|---|"


def policies() -> str:
    """A table for each policy, under the name of its section in a configuration."""
    return "\n\n".join(
        f"### {name}\n\n`{kind.__name__}`: {_summary(kind)}\n\n{_table(kind, name)}"
        for name, kind in POLICIES.items()
    )


def traits() -> str:
    """A table of the traits that can be overridden, and one of a pace."""
    return f"{_table(ProviderTraits, '')}\n\n`pace` has two fields:\n\n{_table(Pace, 'pace')}"


def configuration() -> str:
    """What else a configuration has, with the docstrings of its models."""
    lines = ["| Setting | Default | What it does |", "|---|---|---|"]
    sections = (("providers.NAME.", ProviderBase), ("health.", HealthSection))
    for prefix, model in (("", Top), *sections, ("record.", RecordSection)):
        documented = field_docs(model)
        for name, entry in model.model_fields.items():
            if name in documented:
                default = "" if entry.is_required() else _default(entry.default)
                key = f"{prefix}{entry.alias or name}"
                lines.append(f"| `{key}` | {default} | {_cell(documented[name])} |")
    return "\n".join(lines)


def _summary(kind: type[Any]) -> str:
    return (kind.__doc__ or "").split("\n\n")[0].replace("\n    ", " ")


def _table(kind: type[Any], section: str) -> str:
    hints, documented = get_type_hints(kind, include_extras=True), field_docs(kind)
    lines = [HEADER]
    for f in fields(kind):
        if hints[f.name] is str:
            continue  # what messages call a provider and its key: no setting
        default = "see below" if f.default is MISSING else _default(f.default)
        unit = "s" if hints[f.name] == Seconds else ""
        name = f"`{section}.{f.name}`" if section else f"`{f.name}`"
        cells = (name, TYPES[hints[f.name]], default, unit, _cell(documented[f.name]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _default(value: Any) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case int():
            return str(value)
        case float():
            return f"{value:g}"
        case str() if value:
            return f"`{value}`"
        case _:
            return ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# -- state diagrams


@dataclass(frozen=True)
class Transition:
    """From one state to another, when, and what comes of it."""

    source: str
    target: str
    when: str
    result: str = ""


def breaker() -> str:
    """A breaker's states, from its table."""
    arrows = {
        (str(source), str(target)): str(signal)
        for (source, signal), target in TRANSITIONS.items()
        if source != target
    }
    return _diagram({("[*]", str(BreakerState.CLOSED)): "", **arrows})


def hedging() -> str:
    """The hedge controller's states, from the table in its docstring."""
    return _numbered("Watching", hedging_transitions())


def stream() -> str:
    """A stream's states, from the arrows in the engine's docstring."""
    return _numbered("Served", stream_transitions())


def hedging_transitions() -> list[Transition]:
    """The rows of the table in the docstring of the hedge controller."""
    found = []
    for state, when, target, outcome in _hedging_rows():
        name, _, detail = re.sub("[,:] ", " ", target).partition(" ")
        asks = f"{when}: {detail}" if detail.startswith("ask") else when
        sources = ("Hedging", "Checking") if state == "any" else (state,)
        found += [Transition(s, s if name == "the" else name, asks, outcome) for s in sources]
    return found


def _hedging_rows() -> Iterator[list[str]]:
    """The cells of each row; in a line with which a row goes on, the second one is empty."""
    _, ruler, *lines = _drawing("hedging/controller.py").splitlines()
    starts = [match.start() for match in re.finditer("-+", ruler)]
    rows: list[list[str]] = []
    for line in lines:
        cells = [
            line[a:b].strip() for a, b in itertools.pairwise([*starts, len(line) + starts[-1]])
        ]
        if cells[1]:
            rows.append([cells[0] or rows[-1][0], *cells[1:]])
        else:
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], cells, strict=True)]
    yield from rows


def stream_transitions() -> list[Transition]:
    """The arrows in the docstring of the engine, but the one that leads to the first state."""
    found = []
    for line in re.sub(r"\n {3,}", " ", _drawing("engine.py")).splitlines():
        source, when, target = re.split(r" ──▶? ", line.strip().replace(" ──▶ ", " ── "))
        name, _, detail = target.replace(", ", " ").partition(" ")
        if source != "(new)":
            found.append(Transition(source, name, when, detail.strip("()")))
    return found


def _drawing(module: str) -> str:
    """What stands between the fences in the docstring of a module of core/."""
    documented = ast.get_docstring(ast.parse((CORE / module).read_text(encoding="utf-8"))) or ""
    return documented.split("```\n")[1].rstrip("\n")


def _numbered(first: str, transitions: list[Transition]) -> str:
    """A diagram with numbers at its arrows, and a table that says what they mean.

    A sentence at each arrow could not be read: Mermaid draws them on top of each other.
    """
    arrows = {("[*]", first): ""}
    lines = ["| | From | To | When | Result |", "|--:|---|---|---|---|"]
    for number, one in enumerate(transitions, 1):
        at = arrows.get((one.source, one.target))
        arrows[one.source, one.target] = f"{at}, {number}" if at else str(number)
        result = f"`{one.result}`" if one.result.isidentifier() else one.result
        lines.append(f"| {number} | {one.source} | {one.target} | {one.when} | {result} |")
    return "\n".join([_diagram(arrows), "", *lines])


def _diagram(arrows: Mapping[tuple[str, str], str]) -> str:
    """Mermaid's notation. What leads back to the same state stands in it: a loop hides arrows."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    for (source, target), label in arrows.items():
        if source == target:
            lines.append(f'    state "{source} ↺ {label}" as {source}')
        else:
            lines.append(f"    {source} --> {target}" + (f": {label}" if label else ""))
    return "\n".join([*lines, "```"])


# -- measured


SHOWN = ("drop", "down", "hang", "stall", "lost-final", "outage")
"""The faults of the comparison that the README shows: one of each kind."""


def excerpt() -> str:
    """Some rows of the table that `resilient-stt demo --update docs/comparison.md` writes."""
    text = (ROOT / COMPARISON).read_text(encoding="utf-8")
    begin, end = _markers("comparison")
    table, note = text.split(begin)[1].split(end)[0].split("\n\n")
    header, ruler, *rows = table.splitlines()
    by_fault = {row.split("`")[1]: row for row in rows}
    return "\n".join([header, ruler, *(by_fault[fault] for fault in SHOWN), "", note])


# -- pages

SETTINGS, DECIDES = "docs/settings.md", "docs/how-it-decides.md"
COMPARISON, README = "docs/comparison.md", "README.md"
PARTS: dict[tuple[str, str], Callable[[], str]] = {
    (SETTINGS, "policies"): policies,
    (SETTINGS, "traits"): traits,
    (SETTINGS, "configuration"): configuration,
    (DECIDES, "stream"): stream,
    (DECIDES, "hedging"): hedging,
    (DECIDES, "breaker"): breaker,
    (README, "excerpt"): excerpt,
}


def written(page: str, text: str) -> str:
    """The text of a page with its parts as they should be now.

    Raises:
        ValueError: the page lacks the markers of a part.
    """
    for (of, name), make in PARTS.items():
        if of == page:
            begin, end = _markers(name)
            if begin not in text or end not in text:
                raise ValueError(f"{page} has no {begin.strip()} ... {end.strip()}")
            before, after = text.split(begin)[0], text.split(end)[1]
            text = f"{before}{begin}{make()}{end}{after}"
    return text


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->\n", f"\n<!-- {name}:end -->"


def main(arguments: list[str]) -> int:
    """Write the pages, or say which ones are stale."""
    stale = []
    for page in dict.fromkeys(page for page, _ in PARTS):
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        if (new := written(page, text)) != text:
            stale.append(page)
            if "--check" not in arguments:
                path.write_text(new, encoding="utf-8")
    for page in stale:
        done = "is stale: run " + COMMAND if "--check" in arguments else "is written"
        sys.stdout.write(f"{page} {done}\n")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
