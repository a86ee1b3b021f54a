"""Which providers serve a language, and which language a stream is in.

Tags are BCP 47. A route is found by the lookup of RFC 4647, section 3.4: a tag is shortened subtag
by subtag until a route has that key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..events import LanguageReason
from ..policy import ProviderTraits, RoutingPolicy
from ..transcript.tokens import is_spaced, tokenize

DEFAULT = "default"
"""The key of the route for languages that have none of their own."""

DETECT = "detect"
"""The key of the route for streams whose language is not known yet."""

SHARED_ROUTES = (DEFAULT, DETECT)
"""The keys of routes that serve more than one language."""

UNDETERMINED = frozenset({"", "mul", "und"})
"""BCP 47's tags for no certain language. No provider is given one of them."""

UNKNOWN_LANGUAGES = UNDETERMINED | {"multi"}
"""Tags that name no single language. `multi` is Deepgram's, for any of several."""

_TAG = re.compile(
    r"[a-z]{2,3}(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?"
    r"(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?",
    re.IGNORECASE | re.ASCII,
)
"""RFC 5646, without grandfathered tags and without languages of four letters or more, which are
reserved: such a word is rather the name of a language."""

MAX_TAG = 35
"""Characters that a tag has at most: as many as RFC 5646, section 4.4.1, demands room for."""


def is_tag(text: str) -> bool:
    """Whether a text has the form of a BCP 47 language tag."""
    return len(text) <= MAX_TAG and _TAG.fullmatch(text) is not None


def reported(text: str) -> str:
    """Return the language tag that a provider gave, or an empty text if it gave something else.

    A provider may write anything there, such as what was said, and tags go into events and logs.
    """
    return text if is_tag(text) or text.lower() in UNKNOWN_LANGUAGES else ""


@dataclass(frozen=True, slots=True)
class Route:
    """The providers of a language in order of preference, and the key of the route."""

    key: str
    providers: tuple[ProviderTraits, ...]

    def with_last(self, last: ProviderTraits) -> Route:
        """The same route with `last` as its last provider, unless it is in it anyway."""
        return self if last in self.providers else Route(self.key, (*self.providers, last))


class Router:
    """The routes of a `ResilientSTT`."""

    def __init__(self, routes: Mapping[str, Sequence[ProviderTraits]]) -> None:
        """Take the routes by language tag in any case, with `default` and optionally `detect`.

        Raises:
            AssertionError: `default` is missing, or a route has no provider.
        """
        if DEFAULT not in routes or not all(routes.values()):
            raise AssertionError("every router needs a default route, and every route a provider")
        self._routes = {
            key.lower(): Route(key, tuple(providers)) for key, providers in routes.items()
        }

    def __repr__(self) -> str:
        routes = {r.key: [p.name for p in r.providers] for r in self._routes.values()}
        return f"Router({routes})"

    def lookup(self, tag: str) -> Route:
        """The route of a language: its own, that of a shortened tag, or `default`.

        A tag that names no language has the route `detect`, if there is one.
        """
        if tag.lower() in UNKNOWN_LANGUAGES:
            return self._routes.get(DETECT) or self._routes[DEFAULT]
        found = (self._routes.get(shorter) for shorter in shortened(tag))
        return next((route for route in found if route), self._routes[DEFAULT])

    def has_own(self, tag: str) -> bool:
        """Whether `lookup` finds a route that belongs to the language."""
        return self.lookup(tag).key not in SHARED_ROUTES


def shortened(tag: str) -> Iterator[str]:
    """A tag in lower case, then again and again without its last subtag.

    A singleton is removed together with what follows it: after `zh-x-private` comes `zh`.
    """
    subtags = tag.lower().replace("_", "-").split("-")
    while subtags:
        yield "-".join(subtags)
        subtags.pop()
        while subtags and len(subtags[-1]) == 1:
            subtags.pop()


def same_language(first: str, second: str) -> bool:
    """Whether two tags name the same language, in any region or script."""
    return [*shortened(first)][-1] == [*shortened(second)][-1]


@dataclass(frozen=True, slots=True)
class LanguageChange:
    """A language that a stream changes to, and why."""

    language: str
    reason: LanguageReason
    detected_by: ProviderTraits | None = None
    """The provider that detected it; `None` if the caller requested it."""


class LanguageTracker:
    """The language of one stream, and its route.

    `request` and `observe` only propose a change, in `pending`. The engine calls `apply_change` as
    soon as the change cuts no sentence in two.
    """

    def __init__(
        self,
        router: Router,
        policy: RoutingPolicy,
        language: str = "",
        *,
        retranscribe: bool = False,
    ) -> None:
        """Start with a language.

        Args:
            router: the routes.
            policy: when a reported language is believed.
            language: a tag; empty if none is known.
            retranscribe: whether a sentence that reveals another language is transcribed again by
                the providers of that language. Only kept here, for the engine.
        """
        self._router = router
        self._policy = policy
        self.retranscribe = retranscribe
        self.language = language
        self.route = router.lookup(language)
        self.pending: LanguageChange | None = None
        self._candidate = ""
        """Another language, if the last final was in one."""
        self._candidate_finals = 0
        """Finals in a row in the candidate."""

    def __repr__(self) -> str:
        return (
            f"LanguageTracker(language={self.language!r}, route={self.route.key!r}, {self.pending})"
        )

    def request(self, language: str) -> None:
        """Propose the language that the caller names; empty if the caller does not know it."""
        self._reset_candidate()
        self.pending = (
            LanguageChange(language, LanguageReason.REQUESTED)
            if language != self.language
            else None
        )

    def observe(self, language: str, text: str, provider: ProviderTraits) -> bool:
        """Note the new words of a FINAL, and the language that the provider reports for them.

        Returns:
            Whether that proposes a change. `RoutingPolicy.consecutive_finals` in a row do, and one
            final of `min_words` does by itself; a single short one may be a loan word or a mistake.
        """
        if language.lower() in UNKNOWN_LANGUAGES or (
            self.language.lower() not in UNKNOWN_LANGUAGES
            and same_language(language, self.language)
        ):
            self._reset_candidate()
            return False
        is_same = bool(self._candidate) and same_language(language, self._candidate)
        self._candidate_finals = self._candidate_finals + 1 if is_same else 1
        self._candidate = language
        if self._count_words(text, language) >= self._policy.min_words:
            reason = LanguageReason.LONG_FINAL
        elif self._candidate_finals >= self._policy.consecutive_finals:
            reason = LanguageReason.CONSECUTIVE_FINALS
        else:
            return False
        self._reset_candidate()
        self.pending = LanguageChange(language, reason, provider)
        return True

    def apply_change(self) -> LanguageChange | None:
        """Make the pending change and return it; `None` if there is none.

        A requested language gets its route. For a detected language:

        - If it has a route of its own, the provider that detected it is added as the last one. It
          is known to hear the language, so a route that is down does not lose every word.
        - If it has none, the stream stays on a shared route, because the provider there detected
          it and any later change. From the route of another language it moves to the shared one:
          who serves Spanish need not speak French.
        """
        change, self.pending = self.pending, None
        if change is None:
            return None
        self.language = change.language
        if change.detected_by is None:
            self.route = self._router.lookup(change.language)
        elif self._router.has_own(change.language):
            self.route = self._router.lookup(change.language).with_last(change.detected_by)
        elif self.route.key not in SHARED_ROUTES:
            self.route = self._router.lookup("").with_last(change.detected_by)
        return change

    def _reset_candidate(self) -> None:
        self._candidate, self._candidate_finals = "", 0

    def _count_words(self, text: str, language: str) -> float:
        """Words of a text; characters of a script without spaces count as parts of a word."""
        tokens = tokenize(text, language)
        spaced = sum(is_spaced(t.norm) for t in tokens)
        return spaced + (len(tokens) - spaced) / self._policy.characters_per_word
