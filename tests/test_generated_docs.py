"""The parts of the documentation that a script writes are those of the code as it is."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from resilient_stt.core.events import HedgeOutcome
from resilient_stt.core.hedging.states import State
from resilient_stt.core.policy import Policies

from .support.scripts import ROOT, load

GENERATED: Any = load("scripts/generated_docs.py")
FAILOVER: Any = load("scripts/failover_picture.py")
each_page = pytest.mark.parametrize("page", sorted({page for page, _ in GENERATED.PARTS}))


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@each_page
def test_a_page_says_what_the_code_says(page: str) -> None:
    """Run `python scripts/generated_docs.py` after a change of a setting or a transition."""
    assert GENERATED.written(page, text_of(page)) == text_of(page)


@each_page
def test_a_part_is_written_between_its_markers(page: str) -> None:
    """What was there is replaced, and nothing else."""
    names = [name for of, name in GENERATED.PARTS if of == page]
    stale = text_of(page)
    for name in names:
        before, _, rest = stale.partition(f"<!-- {name}:begin -->\n")
        _, end, after = rest.partition(f"\n<!-- {name}:end -->")
        stale = f"{before}<!-- {name}:begin -->\nstale{end}{after}"
    assert stale.count("stale") == len(names)
    assert GENERATED.written(page, stale) == text_of(page)


def test_a_page_without_markers_is_a_mistake() -> None:
    """A part that has no place would be left out without a word."""
    with pytest.raises(ValueError, match="policies:begin"):
        GENERATED.written(GENERATED.SETTINGS, "# Settings\n")


@pytest.mark.parametrize("section", [f.name for f in dataclasses.fields(Policies)])
def test_every_setting_has_a_row(section: str) -> None:
    """With a type, its default and a text."""
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in text_of(GENERATED.SETTINGS).splitlines()
        if len(cells := [cell.strip() for cell in line[2:-2].split(" | ")]) == 5
    }
    policy = getattr(Policies(), section)
    for field in dataclasses.fields(policy):
        kind, default, unit, text = rows[f"{section}.{field.name}"]
        assert default.strip("`") == str(getattr(policy, field.name)).lower().removesuffix(".0")
        assert (kind == "duration") == (unit == "s")
        assert text


def test_the_hedge_controller_draws_the_states_that_it_has() -> None:
    """The states of its table are its classes, and the results are outcomes."""
    drawn = GENERATED.hedging_transitions()
    states = {state.__name__.removesuffix("SkippedSpeech") for state in get_args(State)}
    assert {one.source for one in drawn} == {one.target for one in drawn} == states
    outcomes = {str(outcome).removeprefix("primary_") for outcome in HedgeOutcome}
    assert {one.result for one in drawn} == {"", *outcomes}


def test_a_stream_leaves_every_state_but_the_last() -> None:
    """The engine's drawing has four states, and each of them can be reached from the first."""
    drawn = GENERATED.stream_transitions()
    assert {one.source for one in drawn} == {"Served", "Rest", "Outage"}
    assert {one.target for one in drawn} == {"Served", "Rest", "Outage", "Done"}
    assert all(one.result in ("Finish", "GiveUp") for one in drawn if one.target == "Done")


def test_links_out_of_the_documentation_lead_to_the_repository() -> None:
    """A site has nothing beside docs/; links within it, and to others, stay."""
    hook: Any = load("scripts/docs_links.py")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="one/page.md"))
    config = SimpleNamespace(repo_url="https://host/repository")
    inside = "[a](../other.md) [b](#here) [c](https://host/../x)"
    text = f"[d](../../examples/agent.py#top) {inside}"
    changed = hook.on_page_markdown(text, page=page, config=config)
    assert changed == f"[d](https://host/repository/blob/main/examples/agent.py#top) {inside}"


def test_the_failover_in_the_picture_is_the_one_that_is_played() -> None:
    """Run `python scripts/failover_picture.py` after a change of what a failover does."""
    assert FAILOVER.drawn(FAILOVER.recorded()) == FAILOVER.PICTURE.read_text()


@pytest.mark.parametrize("scheme", [FAILOVER.LIGHT, FAILOVER.DARK], ids=["light", "dark"])
def test_the_picture_can_be_read(scheme: dict[str, str]) -> None:
    """Text has the contrast that WCAG AA asks for, on everything that it stands on."""
    for text, grounds in FAILOVER.ON.items():
        for ground in grounds:
            assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)


def contrast(one: str, other: str) -> float:
    """The contrast of two colors, as WCAG 2.2 defines it."""
    dark, light = sorted(luminance(color) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    """The relative luminance of a color such as `#1f7a6d`."""
    shares = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
