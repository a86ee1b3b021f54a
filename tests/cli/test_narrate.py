from __future__ import annotations

import pytest

from resilient_stt.cli.narrate import narrate
from resilient_stt.core.events import (
    AudioLossReason,
    AudioLost,
    Decision,
    ErrorKind,
    HedgeFinished,
    HedgeOutcome,
    LanguageReason,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    StallReason,
    Switched,
    SwitchReason,
)

from ..support.events import OUTAGE, STALL, failed, hedge, replayed, switched


def sentences(events: list[Decision], serving: str = "cartesia") -> list[str]:
    """The lines about events, without their times."""
    return [line.plain.partition(" s  ")[2] for line in narrate(events, serving)]


def test_failed_attempts_during_an_outage_are_left_out() -> None:
    """An outage is two lines, however often its providers were tried."""
    assert sentences(OUTAGE, "") == [
        "cartesia dropped the connection (APIConnectionError)",
        "deepgram takes over; the last 2.0 s are replayed",
        "deepgram has caught up: 1.5 s replayed, 0.5 s of silence skipped",
        "deepgram dropped the connection (APIConnectionError)",
        "outage started: no provider works; audio is buffered",
        "outage ended after 4.0 s: cartesia works again",
        "cartesia has caught up: 5.5 s replayed, 0.5 s of silence skipped",
    ]


def test_a_replay_on_a_connection_that_never_opened_is_left_out() -> None:
    """Audio that was queued for a connection that was then refused has not been replayed."""
    events: list[Decision] = [
        switched(6.0, "cartesia", "cartesia", 4.0),
        replayed(6.0, "cartesia", 1.5),
        failed(6.0, "cartesia", ErrorKind.CONNECT),
    ]
    assert sentences(events, "") == [
        "reconnecting to cartesia; the last 2.0 s are replayed",
        "cartesia cannot be reached (APIConnectionError)",
    ]


def test_lost_audio_is_printed_even_during_an_outage() -> None:
    """Lost speech is never left out."""
    events: list[Decision] = [
        OutageStarted(at=1.0),
        AudioLost(at=70.0, seconds=3.0, reason=AudioLossReason.WINDOW_EXCEEDED),
    ]
    assert sentences(events)[-1] == "3.0 s of speech lost: it is older than the replay window"


def test_a_promoted_hedge_is_printed_once() -> None:
    """The line about the hedge names the stall, so the failure and the replay are left out."""
    assert sentences(STALL) == [
        "cartesia stalled (final transcript overdue); hedge on deepgram has text",
        "deepgram takes over; it has the last 8.8 s already",
    ]


def test_a_stall_without_a_hedge_is_a_failure() -> None:
    """The failure is printed with the reason for the stall."""
    assert sentences(STALL[1:]) == [
        "cartesia stalled (final transcript overdue)",
        "deepgram takes over; the last 8.8 s are replayed",
        "deepgram has caught up: 7.2 s replayed, 0.5 s of silence skipped",
    ]


def test_printed_times_never_go_back() -> None:
    """An event about an earlier moment is printed with the time of the line before it."""
    events: list[Decision] = [
        OutageEnded(at=17.0, provider="a", duration=4.0),
        replayed(16.0, "a", 5.5),
    ]
    assert [line.plain[:9] for line in narrate(events)] == [" 17.00 s "] * 2


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            hedge(9.0, HedgeOutcome.NO_SPEECH, StallReason.NO_INTERIM),
            "cartesia is silent (no interim transcript); hedge on deepgram: no speech found",
        ),
        (
            hedge(9.0, HedgeOutcome.PRIMARY_RECOVERED, None),
            "cartesia was slow but answered; hedge on deepgram not needed",
        ),
        (
            hedge(9.0, HedgeOutcome.PROMOTED, StallReason.EMPTY_FINALS, "cartesia"),
            "cartesia stalled (empty final transcripts); "
            "hedge on a second connection to cartesia has text",
        ),
    ],
    ids=["no_speech", "primary_recovered", "promoted, same provider"],
)
def test_each_outcome_of_a_hedge_is_a_line(event: HedgeFinished, sentence: str) -> None:
    """The line names the provider, the reason for the hedge and its outcome."""
    assert sentences([event]) == [sentence]


def test_a_repeated_failure_in_the_background_is_printed_once() -> None:
    """It is printed again only after the provider has recovered."""
    tries: list[Decision] = [failed(at, "cartesia", ErrorKind.CONNECT) for at in (12.0, 18.0, 24.0)]
    failback = Switched(
        at=40.0,
        from_provider="deepgram",
        to_provider="cartesia",
        reason=SwitchReason.FAILBACK,
        replay_from=40.0,
    )
    events: list[Decision] = [
        failed(6.0, "cartesia"),
        switched(6.0, "cartesia", "deepgram", 4.0),
        *tries,
        ProviderRecovered(at=30.0, provider="cartesia"),
        tries[0],
        failback,
        failed(50.0, "cartesia", ErrorKind.CONNECT),
    ]
    assert sentences(events)[2:] == [
        "in the background: cartesia cannot be reached (APIConnectionError)",
        "cartesia has recovered (background probe)",
        "in the background: cartesia cannot be reached (APIConnectionError)",
        "cartesia serves again (failback)",
        "cartesia cannot be reached (APIConnectionError)",
    ]


def test_advice_ends_the_line() -> None:
    """The advice of a failure is printed."""
    advice = "check CARTESIA_API_KEY; not tried again for 300 s"
    event = ProviderFailed(
        at=0.0,
        provider="cartesia",
        reason=ErrorKind.AUTH,
        detail="APIStatusError 401",
        advice=advice,
    )
    assert sentences([event]) == [f"cartesia rejected the API key (APIStatusError 401): {advice}"]


def test_a_change_of_language_is_a_line() -> None:
    """The line names the language and its route."""
    event = LanguageRouted(
        at=0.0,
        from_language="",
        language="es",
        route="default",
        providers=("cartesia",),
        reason=LanguageReason.REQUESTED,
    )
    assert sentences([event]) == ["language is now es: route default"]


def test_a_replay_is_told_though_a_probe_of_another_provider_fails() -> None:
    """Only a failure of the provider itself means that its replay did not happen."""
    events: list[Decision] = [
        failed(6.0, "cartesia"),
        switched(6.0, "cartesia", "deepgram", 4.0),
        replayed(6.0, "deepgram", 1.5),
        failed(11.0, "cartesia", ErrorKind.CONNECT),
    ]
    lines = [line.plain for line in narrate(events, "cartesia")]
    assert any("deepgram has caught up: 1.5 s replayed" in line for line in lines)
    events[-1] = failed(6.5, "deepgram", ErrorKind.CONNECT)
    assert not any("has caught up" in line.plain for line in narrate(events, "cartesia"))
