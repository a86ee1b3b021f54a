"""Calls in more than one language: configured routes, the real plugins, real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from livekit.agents.utils import http_context

from resilient_stt import LanguageRouted, ResilientSTT, Switched
from resilient_stt.testing import FakeCartesia, FakeDeepgram, Fault, ReferenceSpeech, join, play
from resilient_stt.testing.faults import Drop, Hang, Refuse, Stall, Status
from resilient_stt.testing.harness.play import Played
from resilient_stt.testing.speech.reference import plain

from .support.trials import check

pytestmark = pytest.mark.stt_virtual_time

ENGLISH, SPANISH, MANDARIN = (
    ReferenceSpeech.load(name) for name in ("english", "spanish", "mandarin")
)
CALL = join(ENGLISH.excerpt(0, 1), SPANISH).padded(1.0)
ROUTES = {"default": ["cartesia", "deepgram"], "es": ["deepgram"], "detect": ["dg-multi"]}


class Run:
    """A call, and the events of it."""

    def __init__(self, played: Played, routed: list[LanguageRouted], switched: list[Switched]):
        self.played = played
        self.routed = routed
        self.switched = switched


def configuration(cartesia: FakeCartesia, deepgram: FakeDeepgram, **options: Any) -> dict[str, Any]:
    """Three providers over two fakes, and routes."""
    whisper = {"model": "ink-whisper", "api_key": "c", "base_url": cartesia.url}
    nova = {"model": "nova-3", "api_key": "d", "base_url": deepgram.url}
    return {
        "providers": {
            "cartesia": {"plugin": "cartesia", "options": whisper},
            "deepgram": {"plugin": "deepgram", "options": nova},
            "dg-multi": {"plugin": "deepgram", "options": {**nova, "language": "multi"}},
        },
        "routes": ROUTES,
        **options,
    }


@asynccontextmanager
async def resilient(
    faults: Sequence[Fault] = (),
    language: str = "",
    cartesia_faults: Sequence[Fault] = (),
    **options: Any,
) -> AsyncIterator[ResilientSTT]:
    """A `ResilientSTT` of the configuration over the fakes; `faults` are Deepgram's."""
    async with (
        http_context.open(),
        FakeCartesia(faults=cartesia_faults) as cartesia,
        FakeDeepgram(faults=faults) as deepgram,
    ):
        made = ResilientSTT.from_config(
            configuration(cartesia, deepgram, **options), language=language
        )
        yield made
        await made.aclose()


async def call(
    speech: ReferenceSpeech,
    faults: Sequence[Fault] = (),
    changes: Mapping[float, str] | None = None,
    **options: Any,
) -> Run:
    """Play a call; `changes`: seconds at which `update_options` gives a language."""
    routed: list[LanguageRouted] = []
    switched: list[Switched] = []
    async with resilient(faults, **options) as made:
        made.on("language_routed", routed.append)
        made.on("switched", switched.append)
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(at, partial(made.update_options, language=tag))
            for at, tag in (changes or {}).items()
        ]
        played = await play(made, speech)
        for timer in timers:
            timer.cancel()
    return Run(played, routed, switched)


def wrong(run: Run) -> list[str]:
    """Spoken words that are not in the transcript as they were spoken."""
    told = plain(" ".join(final.text for final in run.played.finals))
    return [w.text for w in run.played.speech.words if plain(w.text) not in told]


@pytest.mark.parametrize("retranscribe", [False, True])
async def test_a_call_that_goes_on_in_spanish(retranscribe: bool) -> None:
    """No word is lost or repeated, and every Spanish sentence is transcribed in Spanish."""
    run = await call(CALL, retranscribe=retranscribe)
    check(run.played, "mixed call")
    assert wrong(run) == []
    assert [(e.language, e.route) for e in run.routed] == [("en", "detect"), ("es", "es")]
    assert [(e.to_provider, e.reason) for e in run.switched] == [("deepgram", "language")]


@pytest.mark.parametrize("retranscribe", [False, True])
async def test_a_drop_while_the_language_changes(retranscribe: bool) -> None:
    """A connection that drops in every Spanish sentence costs no word."""
    begins = ENGLISH.excerpt(0, 1).duration
    faults = [Drop(at_time=begins + at) for at in (1.0, 3.0, 5.0, 7.0, 9.0)]
    run = await call(CALL, faults, retranscribe=retranscribe)
    check(run.played, "mixed call over drops")
    assert wrong(run) == []


@pytest.mark.parametrize("retranscribe", [False, True])
@pytest.mark.parametrize("fault", [Refuse(), Hang(), Status(401), Stall(at_time=0)], ids=repr)
async def test_a_route_that_is_down(fault: Fault, *, retranscribe: bool) -> None:
    """If the route of the detected language is down, the provider that detected it goes on."""
    routes = {"default": ["deepgram"], "es": ["cartesia"], "detect": ["dg-multi"]}
    run = await call(CALL, cartesia_faults=[fault], routes=routes, retranscribe=retranscribe)
    check(run.played, f"mixed call, {fault!r} in Spanish")
    assert wrong(run) == []
    assert [(e.language, e.providers) for e in run.routed] == [
        ("en", ("dg-multi",)),
        ("es", ("cartesia", "dg-multi")),
    ]


async def test_a_call_that_comes_back_to_english() -> None:
    """The detecting provider serves for the Spanish one that is down, and follows the call back."""
    speech = join(CALL, ENGLISH.excerpt(2, 3)).padded(1.0)
    routes = {"default": ["deepgram"], "es": ["cartesia"], "detect": ["dg-multi"]}
    run = await call(speech, cartesia_faults=[Refuse()], routes=routes)
    check(run.played, "English, Spanish, English")
    assert wrong(run) == []
    assert [(e.language, e.route) for e in run.routed] == [
        ("en", "detect"),
        ("es", "es"),
        ("en", "detect"),
    ]


async def test_a_call_whose_language_is_given() -> None:
    """The route of a given language serves from the start, without detection."""
    run = await call(SPANISH.excerpt(0, 2).padded(1.0), language="es-MX")
    check(run.played, "Spanish call")
    assert wrong(run) == []
    assert run.routed == []


@pytest.mark.parametrize("at", [2.0, 3.5])
async def test_a_drop_in_mandarin(at: float) -> None:
    """In a script without spaces, a drop loses and repeats nothing."""
    speech = MANDARIN.excerpt(0, 2).padded(1.0)
    routes = {"default": ["cartesia", "deepgram"], "zh": ["deepgram", "cartesia"]}
    run = await call(speech, [Drop(at_time=at)], language="zh-CN", routes=routes)
    check(run.played, f"Mandarin, dropped at {at} s")
    assert wrong(run) == []


@pytest.mark.parametrize("second", range(1, 12))
async def test_a_language_given_in_mid_call(second: int) -> None:
    """A language given at any time, right or wrong, costs no word and repeats none."""
    begins = ENGLISH.excerpt(0, 1).duration
    speech = join(ENGLISH.excerpt(0, 1), SPANISH.excerpt(0, 1)).padded(1.0)
    run = await call(speech, changes={begins / 6 * second: "es"}, language="en")
    assert run.played.error is None
    words = [w for final in run.played.finals for w in final.text.split()]
    assert len(words) == len(speech.words), words
    assert [e.reason for e in run.routed] == ["requested"]
    assert run.played.balanced
