from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from resilient_stt.cli.demo.candidates import CANDIDATES, OURS, Candidate, compete
from resilient_stt.cli.demo.charts import LOST, PENDING, lost_words, word_styles
from resilient_stt.cli.demo.demo_command import _Presenter
from resilient_stt.cli.demo.demo_run import DemoRun
from resilient_stt.cli.demo.live_view import ComparisonView, SingleRunView, live
from resilient_stt.cli.demo.scenarios import SCENARIOS
from resilient_stt.cli.narrate import narrate

from ...support.events import failed


def lines_of(renderable: object, width: int) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.export_text().splitlines()


async def run_scenario(name: str, *candidates: Candidate) -> dict[Candidate, DemoRun]:
    scenario = SCENARIOS[name]
    runs = {candidate: DemoRun(scenario.speech(), "cartesia") for candidate in candidates}
    await compete(scenario, runs, virtual=True)
    return runs


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize("width", [50, 60, 80, 100, 160])
async def test_the_view_of_one_run_fits_the_terminal(width: int) -> None:
    """Charts, transcript and log are in a frame no wider than the terminal."""
    runs = await run_scenario("both", OURS)
    lines = lines_of(SingleRunView(SCENARIOS["both"], runs[OURS]), width)
    text = "\n".join(lines)
    assert {len(line) for line in lines} == {min(width, 110)}
    assert lines[1].count("▄") > 20
    assert "✗" in lines[2]
    assert "░" in lines[2]
    assert "━" in lines[3]
    assert "╌" in lines[3]
    assert "Hello, this is Miguel Santos" in text
    assert "outage ended" in text


@pytest.mark.stt_virtual_time
async def test_the_comparison_counts_lost_words() -> None:
    """Each candidate has a chart, and the number of words that it lost."""
    runs = await run_scenario("down", *CANDIDATES)
    lines = lines_of(ComparisonView(SCENARIOS["down"], runs), 80)
    assert {len(line) for line in lines} == {80}
    assert "57 lost  (failed)" in lines[2]
    assert "4 lost  (ended)" in lines[5]
    assert "lost" not in lines[8]
    assert lost_words(runs[OURS]) == 0


@pytest.mark.stt_virtual_time
async def test_words_that_may_still_come_are_pending() -> None:
    """No word counts as lost before a later word has come, or the run has ended."""
    run = DemoRun(SCENARIOS["none"].speech(), "cartesia")
    assert set(word_styles(run, str)) == {PENDING}
    assert lost_words(run) == 0
    ended = (await run_scenario("down", CANDIDATES[0]))[CANDIDATES[0]]
    assert word_styles(ended, str).count(LOST) == ended.score.lost


@pytest.mark.stt_virtual_time
async def test_the_live_view_ends_with_its_block() -> None:
    """The last state stays on the screen, and no task stays behind."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    run = DemoRun(SCENARIOS["none"].speech(), "cartesia")
    before = asyncio.all_tasks()
    async with live(console, lambda: SingleRunView(SCENARIOS["none"], run)):
        await asyncio.sleep(0.35)
        run.take_event(failed(1.0, "cartesia"))
    assert asyncio.all_tasks() == before
    output = console.file
    assert isinstance(output, io.StringIO)
    first, _, rest = output.getvalue().partition("nothing has failed yet")
    assert "dropped the connection" not in first
    assert "dropped the connection" in rest


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize("width", [50, 60, 80])
async def test_the_last_state_has_every_word_of_what_was_told(width: int) -> None:
    """Lines are wrapped and not cut, and no early one is left out."""
    run = (await run_scenario("both", OURS))[OURS]
    shown = lines_of(SingleRunView(SCENARIOS["both"], run), width)
    text = " ".join(" ".join(shown).replace("│", " ").split())
    for line in narrate(run.events, "cartesia"):
        assert " ".join(line.plain.split()) in text
    assert SCENARIOS["both"].summary in text
    assert "…" not in text


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize("height", [20, 24, 40])
async def test_a_running_view_is_no_higher_than_the_terminal(height: int) -> None:
    """Rich would cut off its end, where the latest lines are."""
    run = (await run_scenario("both", OURS))[OURS]
    run.played = None
    console = Console(record=True, width=60, height=height, file=io.StringIO())
    console.print(SingleRunView(SCENARIOS["both"], run))
    lines = console.export_text().splitlines()
    assert len(lines) <= height
    assert "has caught up" in " ".join(lines[-12:])


@pytest.mark.parametrize(("width", "height", "live"), [(50, 20, 1), (49, 24, 0), (80, 10, 0)])
def test_a_terminal_that_is_too_small_has_plain_lines(width: int, height: int, live: bool) -> None:
    """They scroll, so nothing that was told is lost."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height)
    presenter = _Presenter(console, quiet=False, fast=True, verbose=False)
    presenter.run(SCENARIOS["none"], (OURS,))
    assert ("━ serves" in file.getvalue()) == bool(live)
    assert "Thank you very much, goodbye." in file.getvalue()
