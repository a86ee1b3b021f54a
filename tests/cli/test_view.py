from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from resilient_stt.cli.lanes import LOST, PENDING, History, missing_words, word_styles
from resilient_stt.cli.narrate import story
from resilient_stt.cli.run import CONTESTANTS, OURS, Contestant, Run, compete
from resilient_stt.cli.scenarios import SCENARIOS
from resilient_stt.cli.view import OneRun, SideBySide, shown
from resilient_stt.events import (
    AudioLost,
    Degraded,
    Event,
    ProviderFailed,
    Replayed,
    Restored,
    Switched,
)


def failed(at: float, provider: str, reason: str = "dropped") -> ProviderFailed:
    return ProviderFailed(at=at, provider=provider, reason=reason, detail="APIConnectionError")


def switched(at: float, old: str, new: str, start: float) -> Switched:
    return Switched(at=at, from_provider=old, to_provider=new, reason="dropped", replay_from=start)


def replayed(at: float, provider: str, seconds: float) -> Replayed:
    return Replayed(at=at, provider=provider, seconds=seconds, cut=0.5, took=0.0)


OUTAGE: list[Event] = [
    failed(6.0, "cartesia"),
    switched(6.0, "cartesia", "deepgram", 4.0),
    replayed(6.0, "deepgram", 1.5),
    failed(13.0, "deepgram"),
    Degraded(at=13.0),
    replayed(14.0, "cartesia", 3.5),
    failed(14.0, "cartesia", "connect"),
    switched(14.0, "cartesia", "deepgram", 10.0),
    failed(14.0, "deepgram", "connect"),
    replayed(16.0, "cartesia", 5.5),
    Restored(at=17.0, provider="cartesia", after=4.0),
]


def test_attempts_during_an_outage_are_not_told() -> None:
    """An outage is two lines, however often its providers were tried."""
    assert [line.plain.partition(" s  ")[2] for line in story(OUTAGE)] == [
        "cartesia dropped the connection (APIConnectionError)",
        "deepgram takes over and hears the last 2.0 s again",
        "deepgram has caught up: 1.5 s replayed, 0.5 s of silence left out",
        "deepgram dropped the connection (APIConnectionError)",
        "no provider works: buffering, trying both",
        "cartesia answers again after 4.0 s",
    ]


def test_a_replay_that_came_to_nothing_is_not_told() -> None:
    """Audio queued on a connection that was then refused has not been replayed."""
    events: list[Event] = [
        switched(6.0, "cartesia", "cartesia", 4.0),
        replayed(6.0, "cartesia", 1.5),
        failed(6.0, "cartesia", "connect"),
    ]
    told = [line.plain for line in story(events)]
    assert len(told) == 2
    assert not any("caught up" in line for line in told)


def test_lost_audio_is_told_even_during_an_outage() -> None:
    """What is lost is never left out."""
    events: list[Event] = [Degraded(at=1.0), AudioLost(at=70.0, seconds=3.0)]
    assert "are lost" in story(events)[-1].plain


def test_history_of_an_outage() -> None:
    """Who served when, and what was heard again."""
    history = History.of("cartesia", OUTAGE)
    spells = [(s.provider, s.begin, s.end, s.replayed_from) for s in history.spells]
    assert spells == [
        ("cartesia", 0.0, 6.0, None),
        ("deepgram", 6.0, 13.0, 4.0),
        ("cartesia", 17.0, None, 10.0),
    ]
    assert [(s.begin, s.end) for s in history.outages] == [(13.0, 17.0)]
    assert history.failures == [("cartesia", 6.0), ("deepgram", 13.0)]


def test_a_provider_that_never_opened_did_not_serve() -> None:
    """A handshake that hung for a while is no time of service."""
    history = History.of(
        "cartesia", [failed(1.5, "cartesia", "connect"), switched(1.5, "cartesia", "deepgram", 0.2)]
    )
    assert [spell.provider for spell in history.spells] == ["deepgram"]


def text_of(renderable: object, width: int) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.export_text().splitlines()


async def performed(fault: str, *contestants: Contestant) -> dict[Contestant, Run]:
    scenario = SCENARIOS[fault]
    runs = {contestant: Run(scenario.speech(), "cartesia") for contestant in contestants}
    await compete(scenario, runs, virtual=True)
    return runs


@pytest.mark.virtual_time
@pytest.mark.parametrize("width", [80, 100, 160])
async def test_one_run_fits_the_terminal(width: int) -> None:
    """Lanes, words and the log, in a frame no wider than the terminal."""
    runs = await performed("both", OURS)
    lines = text_of(OneRun(SCENARIOS["both"], runs[OURS]), width)
    whole = "\n".join(lines)
    assert {len(line) for line in lines} == {min(width, 110)}
    assert lines[1].count("▄") > 30
    assert "✗" in lines[2]
    assert "░" in lines[2]
    assert "━" in lines[3]
    assert "╌" in lines[3]
    assert "Hello, this is Miguel Santos" in whole
    assert "cartesia answers again" in whole


@pytest.mark.virtual_time
async def test_side_by_side_counts_what_is_missing() -> None:
    """Each contestant's lane, and how many words it passed over."""
    runs = await performed("drop", *CONTESTANTS)
    lines = text_of(SideBySide(SCENARIOS["drop"], runs), 80)
    assert {len(line) for line in lines} == {80}
    assert "57 missing  (died)" in lines[2]
    assert "missing" in lines[5]
    assert "missing" not in lines[8]
    assert missing_words(runs[OURS]) == 0


@pytest.mark.virtual_time
async def test_words_before_anything_came_are_pending() -> None:
    """No word is called lost while it may still come."""
    run = Run(SCENARIOS["none"].speech(), "cartesia")
    assert set(word_styles(run, str)) == {PENDING}
    assert missing_words(run) == 0
    done = (await performed("drop", CONTESTANTS[0]))[CONTESTANTS[0]]
    assert word_styles(done, str).count(LOST) == done.score.lost


@pytest.mark.virtual_time
async def test_live_view_ends_with_its_block() -> None:
    """The last state stays on the screen, and no task stays behind."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    run = Run(SCENARIOS["none"].speech(), "cartesia")
    before = asyncio.all_tasks()
    async with shown(console, lambda: OneRun(SCENARIOS["none"], run)):
        await asyncio.sleep(0.35)
        run.happened(failed(1.0, "cartesia"))
    assert asyncio.all_tasks() == before
    output = console.file
    assert isinstance(output, io.StringIO)
    assert "cartesia dropped the connection" not in output.getvalue().split("nothing has failed")[0]
    assert "dropped the connection" in output.getvalue()
