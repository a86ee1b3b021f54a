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
from resilient_stt.core.routing.language import (
    LanguageTracker,
    Router,
    reported,
    same_language,
    shortened,
)
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
    """A tag is shortened until a route has it (RFC 4647, 3.4); subtags match as a whole only."""
    assert Router(ROUTES).lookup(tag).key == key


def test_without_detect_an_unknown_language_has_the_default_route() -> None:
    """`detect` is optional."""
    router = Router({"default": [A]})
    assert router.lookup("").key == "default"
    assert not router.has_own("es")
    assert repr(router) == "Router({'default': ['a']})"


@pytest.mark.parametrize("routes", [{}, {"es": [A]}, {"default": []}, {"default": [A], "es": []}])
def test_a_router_needs_a_default_and_providers(routes: dict[str, list[ProviderTraits]]) -> None:
    """A missing default and an empty route are errors of the caller."""
    with pytest.raises(AssertionError, match="route"):
        Router(routes)


tags = st.from_regex(re.compile(r"[a-z]{2,3}(-([a-zA-Z0-9]{1,8})){0,5}"), fullmatch=True)


@given(tags)
def test_shortening_ends_with_the_language(tag: str) -> None:
    """Each tag is a prefix of the one before, none ends with a singleton, the last is the first
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


def observed(*finals: tuple[str, str], language: str = "en") -> LanguageTracker:
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
    """Two finals in a row or one of six words do; a final in the current language resets that."""
    routing = observed(*finals)
    assert (routing.pending.reason if routing.pending else None) == reason


def test_a_detected_language_without_a_route_keeps_the_shared_route() -> None:
    """The provider there detects the next change, too."""
    routing = observed(("fr", LONG), language="")
    assert routing.apply_change()
    assert (routing.language, routing.route.key) == ("fr", "detect")
    routing.request("fr-CA")
    assert routing.apply_change()
    assert (routing.language, routing.route.key) == ("fr-CA", "default")


def test_a_detected_language_without_a_route_leaves_the_route_of_another() -> None:
    """A provider of the Spanish route may not speak French, so the shared route takes over."""
    routing = observed(("fr", LONG), language="es")
    assert routing.apply_change()
    assert (routing.language, routing.route.key) == ("fr", "detect")
    routing = LanguageTracker(Router({"default": [A], "es": [MULTI]}), RoutingPolicy(), "es")
    routing.observe("fr", LONG, MULTI)
    assert routing.apply_change()
    assert routing.route.key == "default"
    assert [*routing.route.providers] == [A, MULTI]


def test_the_provider_that_detected_a_language_becomes_its_last_fallback() -> None:
    """It is appended to the route once; a requested language has no such provider."""
    routing = observed(("es", LONG), language="")
    assert routing.apply_change()
    assert [*routing.route.providers] == [B, A, MULTI]
    assert routing.route.with_last(B) is routing.route
    routing.request("es-MX")
    assert routing.apply_change()
    assert [*routing.route.providers] == [B, A]


def test_requesting_the_current_language_changes_nothing() -> None:
    """It also drops a pending change to another language."""
    routing = observed(("es", LONG))
    routing.request("en")
    assert routing.apply_change() is None
    assert repr(routing) == "LanguageTracker(language='en', route='default', None)"


# --- in the engine


class Call:
    """An engine, the inputs it is given, and the commands it returns."""

    def __init__(
        self, language: str = "", *, retranscribe: bool = False, begun: bool = True
    ) -> None:
        policies = Policies()
        health = {p.name: ProviderHealth(Breaker(policies.breaker)) for p in (A, B, C, MULTI)}
        routing = LanguageTracker(
            Router(ROUTES), policies.routing, language, retranscribe=retranscribe
        )
        self.engine = FailoverEngine(routing, health, policies, HedgeBudget(), vad_enabled=True)
        self.out: list[Command] = []
        self.now = 0.0
        if begun:
            self.do(StreamOpened())

    def do(self, event: Input, now: float | None = None) -> list[Command]:
        self.now = self.now if now is None else now
        out = self.engine.handle(event, self.now)
        self.out += out
        return out

    def speak(self, seconds: float = 1.0) -> None:
        """Begin to speak, and push `seconds` of voice."""
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
        """Have a connection give a FINAL; times are seconds of its own audio."""
        texts = text.split()
        step = (end - start) / len(texts)
        words = tuple(
            Word(w, start + n * step, start + (n + 1) * step) for n, w in enumerate(texts)
        )
        event = TranscriptEvent(EventKind.FINAL, text, words, start, end, language)
        return self.do(ProviderEvent(connection, event))

    @property
    def _end(self) -> int:
        return self.engine._ledger.end

    @property
    def opened(self) -> list[tuple[str, str]]:
        """(provider, language) of every connection that was opened."""
        return [(c.provider, c.language) for c in self.out if isinstance(c, OpenConnection)]

    @property
    def finals(self) -> list[str]:
        finals = [c for c in self.out if isinstance(c, Emit) and c.kind is EventKind.FINAL]
        return [c.text for c in finals]

    @property
    def routed(self) -> list[LanguageRouted]:
        events = [c.event for c in self.out if isinstance(c, ReportEvent)]
        return [e for e in events if isinstance(e, LanguageRouted)]


def test_connections_are_opened_in_the_language_of_the_stream() -> None:
    """A provider that detects languages is given none."""
    assert Call("es-MX").opened == [("b", "es-MX")]
    assert Call().opened == [("m", "")]


def test_a_change_in_mid_speech_takes_effect_at_once() -> None:
    """Pending audio is replayed to a connection in the new language."""
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
    """A finished sentence is transcribed in the language in which it was spoken."""
    call = Call("en")
    call.speak()
    call.pause()
    call.do(LanguageChanged("es"))
    assert call.opened == [("a", "en")]
    call.say(0, "hello", "en", 0.0, 1.0)
    assert call.opened == [("a", "en"), ("b", "es")]
    assert call.finals == ["hello"]


def test_a_change_in_silence_takes_effect_at_once() -> None:
    """With nothing pending there is nothing to wait for."""
    call = Call("en")
    call.do(LanguageChanged("es"))
    assert call.opened == [("a", "en"), ("b", "es")]


def test_a_change_of_the_region_reconnects() -> None:
    """The same provider is given the other tag."""
    call = Call("en")
    call.do(LanguageChanged("en-GB"))
    assert call.opened == [("a", "en"), ("a", "en-GB")]


def test_a_change_in_an_outage_is_tried_at_once() -> None:
    """The providers of the new route are tried without waiting for the backoff."""
    call = Call("en")
    for connection in (0, 1):
        call.do(ConnectionFailed(connection, ErrorKind.CONNECT, backoff=0.5))
    call.do(DeadlineReached(0.5), 0.6)
    assert call.opened == [("a", "en"), ("b", "en"), ("a", "en"), ("b", "en")]
    call.do(LanguageChanged("zh-Hant-TW"))
    assert call.opened[4:] == [("c", "zh-Hant-TW")]


def test_a_provider_that_refused_one_language_is_tried_with_another() -> None:
    """A bad request counts against one language of the stream only."""
    call = Call("en")
    call.do(ConnectionFailed(0, ErrorKind.BAD_REQUEST))
    assert call.opened == [("a", "en"), ("b", "en")]
    call.do(LanguageChanged("en-GB"))
    assert call.opened[2:] == [("a", "en-GB")]


def test_two_finals_choose_the_route() -> None:
    """Both finals are emitted, and nothing emitted is replayed."""
    call = Call()
    for number, text in enumerate(["hola", "bueno"]):
        call.speak()
        call.pause()
        call.say(0, text, "es", 1.4 * number, 1.4 * number + 1.0)
    assert call.finals == ["hola", "bueno"]
    assert call.opened == [("m", ""), ("b", "es")]
    assert [e.reason for e in call.routed] == ["consecutive_finals"]


def test_a_detected_language_without_a_route_causes_no_switch() -> None:
    """The stream stays on its connection, and an event reports the language."""
    call = Call()
    call.speak()
    call.say(0, LONG, "fr", 0.0, 1.0)
    assert call.opened == [("m", "")]
    assert [(e.language, e.route) for e in call.routed] == [("fr", "detect")]


def test_if_the_detected_route_is_down_its_detector_serves() -> None:
    """The provider that detected the language hears it, so there is no outage."""
    call = Call()
    call.speak()
    call.say(0, LONG, "es", 0.0, 1.0)
    for connection in (1, 2):
        call.do(ConnectionFailed(connection, ErrorKind.CONNECT, "refused", None, 0.1))
    assert call.opened == [("m", ""), ("b", "es"), ("a", "es"), ("m", "")]
    assert not [
        c for c in call.out if isinstance(c, ReportEvent) and isinstance(c.event, OutageStarted)
    ]


# --- transcribed again


def revealed() -> Call:
    """A call whose final revealed Spanish: it is held back, and a Spanish connection is open."""
    call = Call(retranscribe=True)
    call.speak()
    assert call.say(0, LONG, "es", 0.0, 1.0)
    assert call.opened == [("m", ""), ("b", "es")]
    assert call.finals == []
    return call


def test_the_sentence_is_transcribed_again() -> None:
    """The final of the Spanish provider is emitted in its place, once."""
    call = revealed()
    call.say(1, "1 2 3 4 5 6", "es", 0.0, 1.0)
    assert call.finals == ["1 2 3 4 5 6"]
    call.do(DeadlineReached(), 10.0)
    assert call.finals == ["1 2 3 4 5 6"]


def test_the_held_final_is_emitted_if_that_takes_too_long() -> None:
    """The overlap is removed from what the Spanish provider gives later."""
    call = revealed()
    assert call.engine.deadline() is not None
    call.do(DeadlineReached(), call.now + 1.5)
    assert call.finals == [LONG]
    call.push(0.5)
    call.say(1, LONG + " siete", "es", 0.0, 7 / 6)
    assert call.finals == [LONG, "siete"]


def test_the_held_final_is_emitted_before_later_words() -> None:
    """If the Spanish provider skips the sentence, the sentence is not lost."""
    call = revealed()
    call.push(1.0)
    call.say(1, "siete", "es", 1.2, 1.8)
    assert call.finals == [LONG, "siete"]


def test_the_held_final_is_emitted_when_the_call_ends() -> None:
    """Also if every further connection ends without words."""
    call = revealed()
    call.do(InputEnded())
    call.do(ConnectionFailed(1, ErrorKind.BAD_REQUEST))
    call.do(ConnectionEnded(2))
    for _ in range(200):
        if call.engine.done:
            break
        call.do(DeadlineReached(0.5), max(call.now, call.engine.deadline() or call.now))
        for connection in range(3, 60):
            call.do(ConnectionEnded(connection))
    assert call.engine.done
    assert call.finals == [LONG]
    assert any(isinstance(c, Finish) for c in call.out)


def test_the_final_is_not_held_without_a_better_route() -> None:
    """No other provider would transcribe the sentence, so there is nothing to wait for."""
    call = Call(retranscribe=True)
    call.speak()
    call.say(0, LONG, "fr", 0.0, 1.0)
    assert call.finals == [LONG]


def test_the_held_final_is_emitted_in_an_outage() -> None:
    """It is emitted in time although no provider of the language can be reached."""
    call = revealed()
    for connection in (1, 2, 3):
        call.do(ConnectionFailed(connection, ErrorKind.CONNECT, backoff=60.0))
    call.do(DeadlineReached(60.0), call.now + 1.5)
    assert call.finals == [LONG]


def test_without_times_the_overlap_is_found_by_text() -> None:
    """A sentence that is transcribed again after all is emitted once."""
    call = Call(retranscribe=True)
    call.speak()
    call.do(ProviderEvent(0, TranscriptEvent(EventKind.FINAL, LONG, language="es")))
    call.do(DeadlineReached(), call.now + 1.5)
    assert call.finals == [LONG]
    call.do(ProviderEvent(1, TranscriptEvent(EventKind.FINAL, LONG + " siete", language="es")))
    assert call.finals == [LONG, "siete"]


def test_a_repeated_sentence_is_emitted_twice() -> None:
    """A connection that stays has no overlap: "sí sí" is speech."""
    call = Call(retranscribe=True)
    call.speak(2.0)
    call.say(0, LONG, "fr", 0.0, 1.0)
    call.say(0, LONG, "fr", 1.0, 2.0)
    assert call.finals == [LONG, LONG]


def test_a_language_that_is_requested_before_the_call_begins() -> None:
    """The first connection is opened in it."""
    call = Call(begun=False)
    call.do(LanguageChanged("es"))
    call.do(StreamOpened())
    assert call.opened == [("b", "es")]


def test_a_change_after_the_end_of_speech_causes_no_switch() -> None:
    """The connection has ended; hedges that look for missing words go on."""
    call = Call("en")
    call.speak()
    call.do(InputEnded())
    call.do(ConnectionEnded(0))
    call.do(LanguageChanged("es"))
    assert [e.language for e in call.routed] == ["es"]
    assert not any(isinstance(c, CloseConnection) and c.connection == 0 for c in call.out)


def test_providers_of_the_route_are_preferred_to_another() -> None:
    """It may still serve, as an earlier hedge; every provider of the route is preferred to it."""
    policies = Policies()
    health = {p.name: ProviderHealth(Breaker(policies.breaker)) for p in (A, B)}
    selector = ProviderSelector([A], health, policies.retry)
    assert selector.failback_candidate(B, 0.0) is A


@pytest.mark.parametrize("text", ["en", "pt-BR", "zh-Hant-TW", "multi", "und", ""])
def test_a_language_that_is_reported_as_a_tag_is_believed(text: str) -> None:
    """Also what names no single language."""
    assert reported(text) == text


@pytest.mark.parametrize(
    "text", ["english", "en US", "en\nfr", "Kowalski", "x" * 36, "en-x-" + "-".join("ab" * 99)]
)
def test_what_is_no_tag_is_no_language(text: str) -> None:
    """A provider may write anything there, and it would be in every log line about the language."""
    assert reported(text) == ""
