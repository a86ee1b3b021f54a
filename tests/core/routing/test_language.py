from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import (
    ErrorKind,
    LanguageReason,
    LanguageRouted,
    OutageStarted,
    Switched,
)
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.messages import (
    AudioPushed,
    CloseConnection,
    Command,
    ConnectionEnded,
    ConnectionFailed,
    DeadlineReached,
    Emit,
    EventKind,
    Finish,
    Input,
    InputEnded,
    LanguageChanged,
    OpenConnection,
    ProviderEvent,
    ReportEvent,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
    Word,
)
from resilient_stt.core.policy import Policies, ProviderTraits, RoutingPolicy
from resilient_stt.core.routing.language import LanguageTracker, Router, same_language, shortened
from resilient_stt.core.routing.selector import ProviderSelector

RATE = 1000
A, B, C, MULTI = (ProviderTraits(name=n) for n in "abcm")
MULTI = ProviderTraits(name="m", language_detection=True)
ROUTES = {"default": [A, B], "es": [B, A], "zh-Hant": [C], "detect": [MULTI]}

# --- which route


@pytest.mark.parametrize(
    ("tag", "key"),
    [
        ("", "detect"),
        ("und", "detect"),
        ("multi", "detect"),
        ("es", "es"),
        ("ES-mx", "es"),
        ("es_419", "es"),
        ("zh-Hant-TW", "zh-Hant"),
        ("zh-hant", "zh-Hant"),
        ("zh", "default"),
        ("zh-Hans-CN", "default"),
        ("es-x-private", "es"),
        ("est", "default"),
        ("fr", "default"),
    ],
)
def test_lookup(tag: str, key: str) -> None:
    """RFC 4647, 3.4: a tag is shortened until it is found; a subtag is never found in part."""
    assert Router(ROUTES).lookup(tag).key == key


def test_without_detect_the_default_serves_who_says_nothing() -> None:
    router = Router({"default": [A]})
    assert router.lookup("").key == "default"
    assert not router.has_own("es")
    assert repr(router) == "Router({'default': ['a']})"


@pytest.mark.parametrize("routes", [{}, {"es": [A]}, {"default": []}, {"default": [A], "es": []}])
def test_a_router_needs_a_default_and_providers(routes: dict[str, list[ProviderTraits]]) -> None:
    with pytest.raises(AssertionError, match="route"):
        Router(routes)


tags = st.from_regex(re.compile(r"[a-z]{2,3}(-([a-zA-Z0-9]{1,8})){0,5}"), fullmatch=True)


@given(tags)
def test_shortening_ends_with_the_language(tag: str) -> None:
    """Each is a beginning of the one before, none ends with a singleton, the last is the first
    subtag."""
    found = [*shortened(tag)]
    assert found[0] == tag.lower()
    assert found[-1] == tag.lower().split("-")[0]
    for longer, shorter in pairwise(found):
        assert longer.startswith(shorter + "-")
        assert len(shorter.split("-")[-1]) > 1
    assert same_language(tag, found[-1].upper())


# --- which language

LONG = "uno dos tres cuatro cinco seis"


def heard(*finals: tuple[str, str], language: str = "en") -> LanguageTracker:
    routing = LanguageTracker(Router(ROUTES), RoutingPolicy(), language)
    for tag, text in finals:
        routing.observe(tag, text, MULTI)
    return routing


@pytest.mark.parametrize(
    ("finals", "reason"),
    [
        ([("es", "hola")], None),
        ([("es", LONG)], "long_final"),
        ([("es", "hola"), ("es-MX", "bueno")], "consecutive_finals"),
        ([("es", "hola"), ("en-GB", "hello"), ("es", "bueno")], None),
        ([("es", "hola"), ("fr", "salut"), ("es", "bueno")], None),
        ([("es", "hola"), ("", "uh"), ("es", "bueno")], None),
        ([("zh", "你好我想订一张")], None),
        ([("zh", "你好我想订一张桌子吧")], "long_final"),
        ([("en", "one two three four five six seven")], None),
    ],
)
def test_what_reveals_a_language(finals: list[tuple[str, str]], reason: str | None) -> None:
    """Two finals in a row, or one of six words; a final in the language spoken starts afresh."""
    routing = heard(*finals)
    assert (routing.pending.reason if routing.pending else None) == reason


def test_a_discovered_language_without_a_route_stays_where_it_was_found() -> None:
    """Only there a caller who changes it again is followed."""
    routing = heard(("fr", LONG), language="")
    assert routing.apply_change()
    assert (routing.language, routing.route.key) == ("fr", "detect")
    routing.request("fr-CA")
    assert routing.apply_change()
    assert (routing.language, routing.route.key) == ("fr-CA", "default")


def test_a_discovered_language_without_a_route_leaves_that_of_another() -> None:
    """Who serves Spanish need not speak French."""
    routing = heard(("fr", LONG), language="es")
    assert routing.apply_change()
    assert (routing.language, routing.route.key) == ("fr", "detect")
    routing = LanguageTracker(Router({"default": [A], "es": [MULTI]}), RoutingPolicy(), "es")
    routing.observe("fr", LONG, MULTI)
    assert routing.apply_change()
    assert routing.route.key == "default"
    assert [*routing.route.providers] == [A, MULTI]


def test_who_found_a_language_out_serves_if_nobody_else_does() -> None:
    """The last of its route, unless he is in it anyway; who asks for it has no such provider."""
    routing = heard(("es", LONG), language="")
    assert routing.apply_change()
    assert [*routing.route.providers] == [B, A, MULTI]
    assert routing.route.with_last(B) is routing.route
    routing.request("es-MX")
    assert routing.apply_change()
    assert [*routing.route.providers] == [B, A]


def test_asking_for_the_language_that_is_spoken_changes_nothing() -> None:
    routing = heard(("es", LONG))
    routing.request("en")
    assert routing.apply_change() is None
    assert repr(routing) == "LanguageTracker(language='en', route='default', None)"


# --- a session


class Call:
    """A session that is told what happens, and what came of it."""

    def __init__(
        self, language: str = "", *, retranscribe: bool = False, begun: bool = True
    ) -> None:
        policies = Policies()
        health = {p.name: ProviderHealth(Breaker(policies.breaker)) for p in (A, B, C, MULTI)}
        routing = LanguageTracker(
            Router(ROUTES), policies.routing, language, retranscribe=retranscribe
        )
        self.session = FailoverEngine(routing, health, policies, HedgeBudget(), vad_enabled=True)
        self.out: list[Command] = []
        self.now = 0.0
        if begun:
            self.do(StreamOpened())

    def do(self, event: Input, now: float | None = None) -> list[Command]:
        self.now = self.now if now is None else now
        out = self.session.handle(event, self.now)
        self.out += out
        return out

    def speak(self, seconds: float = 1.0) -> None:
        """So much voice."""
        self.do(SpeechStarted(self._end))
        self.push(seconds)

    def push(self, seconds: float) -> None:
        self.now += seconds
        self.do(AudioPushed(round(seconds * RATE), RATE))

    def pause(self, seconds: float = 0.4) -> None:
        self.do(SpeechEnded(self._end))
        self.push(seconds)

    def say(
        self, connection: int, text: str, language: str, start: float, end: float
    ) -> list[Command]:
        """A FINAL of a leg, in seconds of its own audio."""
        texts = text.split()
        step = (end - start) / len(texts)
        words = tuple(
            Word(w, start + n * step, start + (n + 1) * step) for n, w in enumerate(texts)
        )
        event = TranscriptEvent(EventKind.FINAL, text, words, start, end, language)
        return self.do(ProviderEvent(connection, event))

    @property
    def _end(self) -> int:
        return self.session._ledger.end

    @property
    def opened(self) -> list[tuple[str, str]]:
        """The legs that were opened: on whom, and in which language."""
        return [(c.provider, c.language) for c in self.out if isinstance(c, OpenConnection)]

    @property
    def told(self) -> list[str]:
        finals = [c for c in self.out if isinstance(c, Emit) and c.kind is EventKind.FINAL]
        return [c.text for c in finals]

    @property
    def routed(self) -> list[LanguageRouted]:
        events = [c.event for c in self.out if isinstance(c, ReportEvent)]
        return [e for e in events if isinstance(e, LanguageRouted)]


def test_legs_are_opened_in_the_language_of_the_call() -> None:
    """But one that finds out by itself is left to."""
    assert Call("es-MX").opened == [("b", "es-MX")]
    assert Call().opened == [("m", "")]


def test_a_change_in_mid_speech_takes_effect_at_once() -> None:
    """What is not transcribed yet is heard again in the new language."""
    call = Call("en")
    call.speak()
    call.do(LanguageChanged("es"))
    assert call.opened == [("a", "en"), ("b", "es")]
    assert call.routed == [
        LanguageRouted(
            at=1.0,
            from_language="en",
            language="es",
            route="es",
            providers=("b", "a"),
            reason=LanguageReason.REQUESTED,
        )
    ]
    switched = [c.event for c in call.out if isinstance(c, ReportEvent)]
    assert any(isinstance(e, Switched) and e.reason == "language" for e in switched)
    assert CloseConnection(0) in call.out


def test_a_change_waits_for_the_last_final() -> None:
    """After a sentence its words come in the language in which it was said."""
    call = Call("en")
    call.speak()
    call.pause()
    call.do(LanguageChanged("es"))
    assert call.opened == [("a", "en")]
    call.say(0, "hello", "en", 0.0, 1.0)
    assert call.opened == [("a", "en"), ("b", "es")]
    assert call.told == ["hello"]


def test_a_change_in_silence_takes_effect_at_once() -> None:
    call = Call("en")
    call.do(LanguageChanged("es"))
    assert call.opened == [("a", "en"), ("b", "es")]


def test_a_region_alone_opens_a_leg_anew() -> None:
    """The same provider, told another tag."""
    call = Call("en")
    call.do(LanguageChanged("en-GB"))
    assert call.opened == [("a", "en"), ("a", "en-GB")]


def test_a_change_in_an_outage_is_tried_at_once() -> None:
    call = Call("en")
    for connection in (0, 1):
        call.do(ConnectionFailed(connection, ErrorKind.CONNECT, backoff=0.5))
    call.do(DeadlineReached(0.5), 0.6)
    assert call.opened == [("a", "en"), ("b", "en"), ("a", "en"), ("b", "en")]
    call.do(LanguageChanged("zh-Hant-TW"))
    assert call.opened[4:] == [("c", "zh-Hant-TW")]


def test_who_refused_another_language_may_take_this() -> None:
    call = Call("en")
    call.do(ConnectionFailed(0, ErrorKind.BAD_REQUEST))
    assert call.opened == [("a", "en"), ("b", "en")]
    call.do(LanguageChanged("en-GB"))
    assert call.opened[2:] == [("a", "en-GB")]


def test_two_finals_choose_the_route() -> None:
    """Both are told, and nothing is heard again that was told."""
    call = Call()
    for number, text in enumerate(["hola", "bueno"]):
        call.speak()
        call.pause()
        call.say(0, text, "es", 1.4 * number, 1.4 * number + 1.0)
    assert call.told == ["hola", "bueno"]
    assert call.opened == [("m", ""), ("b", "es")]
    assert [e.reason for e in call.routed] == ["consecutive_finals"]


def test_a_discovered_language_is_kept_by_who_found_it() -> None:
    """Where it has no route of its own nobody has to move; other legs are told of it."""
    call = Call()
    call.speak()
    call.say(0, LONG, "fr", 0.0, 1.0)
    assert call.opened == [("m", "")]
    assert [(e.language, e.route) for e in call.routed] == [("fr", "detect")]


def test_a_discovered_route_that_is_down_goes_back_to_who_found_it() -> None:
    """He hears the language, and nobody has to be waited for."""
    call = Call()
    call.speak()
    call.say(0, LONG, "es", 0.0, 1.0)
    for connection in (1, 2):
        call.do(ConnectionFailed(connection, ErrorKind.CONNECT, "refused", None, 0.1))
    assert call.opened == [("m", ""), ("b", "es"), ("a", "es"), ("m", "")]
    assert not [
        c for c in call.out if isinstance(c, ReportEvent) and isinstance(c.event, OutageStarted)
    ]


# --- told again


def revealed() -> Call:
    """A final that reveals Spanish is held back, and a Spanish leg hears the sentence."""
    call = Call(retranscribe=True)
    call.speak()
    assert call.say(0, LONG, "es", 0.0, 1.0)
    assert call.opened == [("m", ""), ("b", "es")]
    assert call.told == []
    return call


def test_the_sentence_is_told_again() -> None:
    """By who speaks the language, once."""
    call = revealed()
    call.say(1, "1 2 3 4 5 6", "es", 0.0, 1.0)
    assert call.told == ["1 2 3 4 5 6"]
    call.do(DeadlineReached(), 10.0)
    assert call.told == ["1 2 3 4 5 6"]


def test_it_is_told_as_it_was_if_that_takes_too_long() -> None:
    """And the words that come later are the same ones."""
    call = revealed()
    assert call.session.deadline() is not None
    call.do(DeadlineReached(), call.now + 1.5)
    assert call.told == [LONG]
    call.push(0.5)
    call.say(1, LONG + " siete", "es", 0.0, 7 / 6)
    assert call.told == [LONG, "siete"]


def test_it_is_told_before_what_is_said_after_it() -> None:
    """A leg that did not hear the sentence must not cost it."""
    call = revealed()
    call.push(1.0)
    call.say(1, "siete", "es", 1.2, 1.8)
    assert call.told == [LONG, "siete"]


def test_it_is_told_when_the_call_ends() -> None:
    call = revealed()
    call.do(InputEnded())
    call.do(ConnectionFailed(1, ErrorKind.BAD_REQUEST))
    call.do(ConnectionEnded(2))
    for _ in range(200):
        if call.session.done:
            break
        call.do(DeadlineReached(0.5), max(call.now, call.session.deadline() or call.now))
        for connection in range(3, 60):
            call.do(ConnectionEnded(connection))
    assert call.session.done
    assert call.told == [LONG]
    assert any(isinstance(c, Finish) for c in call.out)


def test_it_is_told_at_once_where_nobody_speaks_it_better() -> None:
    """The language has no other route: there is nothing to wait for."""
    call = Call(retranscribe=True)
    call.speak()
    call.say(0, LONG, "fr", 0.0, 1.0)
    assert call.told == [LONG]


def test_it_is_told_in_an_outage() -> None:
    """Nobody can be reached who speaks the language: it is told as it was, in time."""
    call = revealed()
    for connection in (1, 2, 3):
        call.do(ConnectionFailed(connection, ErrorKind.CONNECT, backoff=60.0))
    call.do(DeadlineReached(60.0), call.now + 1.5)
    assert call.told == [LONG]


def test_without_times_it_is_known_by_its_words() -> None:
    """When it is told again after all."""
    call = Call(retranscribe=True)
    call.speak()
    call.do(ProviderEvent(0, TranscriptEvent(EventKind.FINAL, LONG, language="es")))
    call.do(DeadlineReached(), call.now + 1.5)
    assert call.told == [LONG]
    call.do(ProviderEvent(1, TranscriptEvent(EventKind.FINAL, LONG + " siete", language="es")))
    assert call.told == [LONG, "siete"]


def test_who_repeats_himself_is_told_twice() -> None:
    """A leg that stays has no seam: "sí sí" is speech."""
    call = Call(retranscribe=True)
    call.speak(2.0)
    call.say(0, LONG, "fr", 0.0, 1.0)
    call.say(0, LONG, "fr", 1.0, 2.0)
    assert call.told == [LONG, LONG]


def test_a_language_that_is_told_before_the_call_begins() -> None:
    call = Call(begun=False)
    call.do(LanguageChanged("es"))
    call.do(StreamOpened())
    assert call.opened == [("b", "es")]


def test_a_leg_that_has_ended_is_not_left() -> None:
    """Nobody speaks any more: those who are asked for missing words go on."""
    call = Call("en")
    call.speak()
    call.do(InputEnded())
    call.do(ConnectionEnded(0))
    call.do(LanguageChanged("es"))
    assert [e.language for e in call.routed] == ["es"]
    assert not any(isinstance(c, CloseConnection) and c.connection == 0 for c in call.out)


def test_a_provider_of_another_route_gives_way_to_any_of_this() -> None:
    """It may still serve, as a second opinion of before: all others are preferred to it."""
    policies = Policies()
    health = {p.name: ProviderHealth(Breaker(policies.breaker)) for p in (A, B)}
    choice = ProviderSelector([A], health, policies.retry)
    assert choice.failback_candidate(B, 0.0) is A
