from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from resilient_stt.cli.demo.lanes import LOST, PENDING, History, missing_words, word_styles
from resilient_stt.cli.demo.run import CANDIDATES, OURS, Candidate, DemoRun, compete
from resilient_stt.cli.demo.scenarios import SCENARIOS
from resilient_stt.cli.demo.view import OneRun, SideBySide, shown
from resilient_stt.cli.narrate import story
from resilient_stt.core.events import (
    AudioLossReason,
    AudioLost,
    ErrorKind,
    Event,
    HedgeFinished,
    HedgeOutcome,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    StallReason,
    Switched,
    SwitchReason,
)


def failed(at: float, provider: str, reason: ErrorKind = ErrorKind.DROPPED) -> ProviderFailed:
    return ProviderFailed(at=at, provider=provider, reason=reason, detail="APIConnectionError")


def switched(at: float, old: str, new: str, start: float) -> Switched:
    return Switched(
        at=at, from_provider=old, to_provider=new, reason=ErrorKind.DROPPED, replay_from=start
    )


def replayed(at: float, provider: str, seconds: float) -> Replayed:
    return Replayed(at=at, provider=provider, seconds=seconds, silence_trimmed=0.5, duration=0.0)


OUTAGE: list[Event] = [
    failed(6.0, "cartesia"),
    switched(6.0, "cartesia", "deepgram", 4.0),
    replayed(6.0, "deepgram", 1.5),
    failed(13.0, "deepgram"),
    OutageStarted(at=13.0),
    failed(14.0, "cartesia", ErrorKind.CONNECT),
    failed(14.0, "deepgram", ErrorKind.CONNECT),
    OutageEnded(at=17.0, provider="cartesia", duration=4.0),
    replayed(16.0, "cartesia", 5.5),
]


def test_attempts_during_an_outage_are_not_told() -> None:
    """An outage is two lines, however often its providers were tried."""
    assert [line.plain.partition(" s  ")[2] for line in story(OUTAGE)] == [
        "cartesia dropped the connection (APIConnectionError)",
        "deepgram takes over and hears the last 2.0 s again",
        "deepgram has caught up: 1.5 s replayed, 0.5 s of silence left out",
        "deepgram dropped the connection (APIConnectionError)",
        "no provider works: buffering, trying all of them",
        "cartesia answers again after 4.0 s",
        "cartesia has caught up: 5.5 s replayed, 0.5 s of silence left out",
    ]


def test_a_replay_that_came_to_nothing_is_not_told() -> None:
    """Audio queued on a connection that was then refused has not been replayed."""
    events: list[Event] = [
        switched(6.0, "cartesia", "cartesia", 4.0),
        replayed(6.0, "cartesia", 1.5),
        failed(6.0, "cartesia", ErrorKind.CONNECT),
    ]
    told = [line.plain for line in story(events)]
    assert len(told) == 2
    assert not any("caught up" in line for line in told)


def test_lost_audio_is_told_even_during_an_outage() -> None:
    """What is lost is never left out."""
    events: list[Event] = [
        OutageStarted(at=1.0),
        AudioLost(at=70.0, seconds=3.0, reason=AudioLossReason.WINDOW_EXCEEDED),
    ]
    assert "are lost" in story(events)[-1].plain


def opinion(
    at: float,
    verdict: HedgeOutcome,
    sign: StallReason | None = StallReason.FINAL_OVERDUE,
    asked: str = "deepgram",
) -> HedgeFinished:
    return HedgeFinished(
        at=at, provider="cartesia", hedge_provider=asked, trigger=sign, outcome=verdict, seconds=8.0
    )


STALL: list[Event] = [
    opinion(12.7, HedgeOutcome.PROMOTED),
    ProviderFailed(
        at=12.7, provider="cartesia", reason=ErrorKind.STALLED, trigger=StallReason.FINAL_OVERDUE
    ),
    Switched(
        at=12.7,
        from_provider="cartesia",
        to_provider="deepgram",
        reason=ErrorKind.STALLED,
        replay_from=3.9,
    ),
    replayed(11.9, "deepgram", 7.2),
]


def told(events: list[Event], serving: str = "cartesia") -> list[str]:
    return [line.plain.partition(" s  ")[2] for line in story(events, serving)]


def test_a_conviction_is_told_once() -> None:
    """The verdict says who is silent and who is not; the switch, that nothing is heard anew."""
    assert told(STALL) == [
        "cartesia says nothing (its final is overdue); deepgram hears words",
        "deepgram takes over and has heard the last 8.8 s already",
    ]


def test_silence_that_nobody_else_was_asked_about() -> None:
    """Without a second opinion the failure itself is told, and its sign in words."""
    assert told(STALL[1:]) == [
        "cartesia went silent (its final is overdue)",
        "deepgram takes over and hears the last 8.8 s again",
        "deepgram has caught up: 7.2 s replayed, 0.5 s of silence left out",
    ]


def test_time_never_goes_back_in_a_story() -> None:
    """An event about an earlier moment is told when it is told."""
    events: list[Event] = [
        OutageEnded(at=17.0, provider="a", duration=4.0),
        replayed(16.0, "a", 5.5),
    ]
    assert [line.plain[:9] for line in story(events)] == [" 17.00 s "] * 2


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (
            opinion(9.0, HedgeOutcome.NO_SPEECH, StallReason.NO_INTERIM),
            "cartesia says nothing (no sign of life); deepgram hears no words either: it was noise",
        ),
        (
            opinion(9.0, HedgeOutcome.PRIMARY_RECOVERED, None),
            "cartesia took its time; deepgram was asked, too, and not needed",
        ),
        (
            opinion(9.0, HedgeOutcome.PROMOTED, StallReason.EMPTY_FINALS, "cartesia"),
            "cartesia says nothing (empty finals); a second connection to cartesia hears words",
        ),
    ],
    ids=["no_speech", "primary_recovered", "the same again"],
)
def test_second_opinions(event: Event, says: str) -> None:
    """Every verdict in a line."""
    assert told([event]) == [says]


def test_what_fails_in_the_background_is_told_once() -> None:
    """Attempts on a provider that does not serve are set apart, and not repeated until it has
    recovered; who returns is back."""
    lost: list[Event] = [failed(6.0, "cartesia"), switched(6.0, "cartesia", "deepgram", 4.0)]
    tries: list[Event] = [failed(at, "cartesia", ErrorKind.CONNECT) for at in (12.0, 18.0, 24.0)]
    back = Switched(
        at=40.0,
        from_provider="deepgram",
        to_provider="cartesia",
        reason=SwitchReason.FAILBACK,
        replay_from=40.0,
    )
    again = failed(50.0, "cartesia", ErrorKind.CONNECT)
    events: list[Event] = [
        *lost,
        *tries,
        ProviderRecovered(at=30.0, provider="cartesia"),
        tries[0],
        back,
        again,
    ]
    assert told(events)[2:] == [
        "cartesia, tried in the background, cannot be reached (APIConnectionError)",
        "cartesia hears again (tried in the background)",
        "cartesia, tried in the background, cannot be reached (APIConnectionError)",
        "cartesia is back",
        "cartesia cannot be reached (APIConnectionError)",
    ]


def test_what_to_do_is_told() -> None:
    """Advice, where there is any, ends the line."""
    advice = "check CARTESIA_API_KEY; not tried again for 300 s"
    event = ProviderFailed(
        at=0.0,
        provider="cartesia",
        reason=ErrorKind.AUTH,
        detail="APIStatusError 401",
        advice=advice,
    )
    assert told([event]) == [f"cartesia refused the key (APIStatusError 401): {advice}"]


def test_history_of_a_call_that_comes_back() -> None:
    """What fails in the background interrupts nobody's service."""
    events: list[Event] = [
        *STALL,
        failed(18.0, "cartesia", ErrorKind.CONNECT),
        ProviderRecovered(at=30.0, provider="cartesia"),
        switched(40.0, "deepgram", "cartesia", 40.0),
    ]
    history = History.of("cartesia", events)
    assert [(s.provider, s.begin, s.end) for s in history.spells] == [
        ("cartesia", 0.0, 12.7),
        ("deepgram", 12.7, 40.0),
        ("cartesia", 40.0, None),
    ]
    assert history.failures == [("cartesia", 12.7), ("cartesia", 18.0)]


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
        "cartesia",
        [
            failed(1.5, "cartesia", ErrorKind.CONNECT),
            Switched(
                at=1.5,
                from_provider="cartesia",
                to_provider="deepgram",
                reason=ErrorKind.CONNECT,
                replay_from=0.2,
            ),
        ],
    )
    assert [spell.provider for spell in history.spells] == ["deepgram"]


def text_of(renderable: object, width: int) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.export_text().splitlines()


async def performed(fault: str, *contestants: Candidate) -> dict[Candidate, DemoRun]:
    scenario = SCENARIOS[fault]
    runs = {contestant: DemoRun(scenario.speech(), "cartesia") for contestant in contestants}
    await compete(scenario, runs, virtual=True)
    return runs


@pytest.mark.stt_virtual_time
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


@pytest.mark.stt_virtual_time
async def test_side_by_side_counts_what_is_missing() -> None:
    """Each contestant's lane, and how many words it passed over."""
    runs = await performed("drop", *CANDIDATES)
    lines = text_of(SideBySide(SCENARIOS["drop"], runs), 80)
    assert {len(line) for line in lines} == {80}
    assert "57 missing  (died)" in lines[2]
    assert "missing" in lines[5]
    assert "missing" not in lines[8]
    assert missing_words(runs[OURS]) == 0


@pytest.mark.stt_virtual_time
async def test_words_before_anything_came_are_pending() -> None:
    """No word is called lost while it may still come."""
    run = DemoRun(SCENARIOS["none"].speech(), "cartesia")
    assert set(word_styles(run, str)) == {PENDING}
    assert missing_words(run) == 0
    done = (await performed("drop", CANDIDATES[0]))[CANDIDATES[0]]
    assert word_styles(done, str).count(LOST) == done.score.lost


@pytest.mark.stt_virtual_time
async def test_live_view_ends_with_its_block() -> None:
    """The last state stays on the screen, and no task stays behind."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    run = DemoRun(SCENARIOS["none"].speech(), "cartesia")
    before = asyncio.all_tasks()
    async with shown(console, lambda: OneRun(SCENARIOS["none"], run)):
        await asyncio.sleep(0.35)
        run.happened(failed(1.0, "cartesia"))
    assert asyncio.all_tasks() == before
    output = console.file
    assert isinstance(output, io.StringIO)
    assert "cartesia dropped the connection" not in output.getvalue().split("nothing has failed")[0]
    assert "dropped the connection" in output.getvalue()
