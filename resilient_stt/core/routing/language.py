"""Which providers serve a language, and which language is spoken.

Tags are BCP 47; routes are found by the lookup of RFC 4647, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..events import LanguageReason
from ..policy import ProviderTraits, RoutingPolicy
from ..transcript.tokens import is_spaced, tokenize

DEFAULT = "default"
"""The route of languages that have none of their own."""

DETECT = "detect"
"""The route as long as no language is known."""

SHARED_ROUTES = (DEFAULT, DETECT)
"""Routes of more than one language."""

UNDETERMINED = frozenset({"", "mul", "und"})
"""BCP 47's own tags of no certain language; no provider is told them."""

UNKNOWN_LANGUAGES = UNDETERMINED | {"multi"}
"""Tags that name no language, also Deepgram's "any of several"."""

CHARACTERS_PER_WORD = 1.5
"""Characters of a word in a script that is written without spaces, about."""


@dataclass(frozen=True, slots=True)
class Route:
    """The providers of a language, in order of preference, and the key that it was found under."""

    key: str
    providers: tuple[ProviderTraits, ...]

    def with_last(self, last: ProviderTraits) -> Route:
        """The same, with a provider after all others."""
        return self if last in self.providers else Route(self.key, (*self.providers, last))


class Router:
    """The routes of a `ResilientSTT`."""

    def __init__(self, routes: Mapping[str, Sequence[ProviderTraits]]) -> None:
        """`routes`: by language tag in any case, `default` and, as an option, `detect`."""
        if DEFAULT not in routes or not all(routes.values()):
            raise AssertionError("every router needs a default route, and every route a provider")
        self._routes = {
            key.lower(): Route(key, tuple(providers)) for key, providers in routes.items()
        }

    def __repr__(self) -> str:
        routes = {r.key: [p.name for p in r.providers] for r in self._routes.values()}
        return f"Router({routes})"

    def lookup(self, tag: str) -> Route:
        """The route of a language: its own, that of the tag with less and less, or `default`."""
        if tag.lower() in UNKNOWN_LANGUAGES:
            return self._routes.get(DETECT) or self._routes[DEFAULT]
        found = (self._routes.get(shorter) for shorter in shortened(tag))
        return next((route for route in found if route), self._routes[DEFAULT])

    def has_own(self, tag: str) -> bool:
        """Whether a language has a route of its own, by the same lookup."""
        return self.lookup(tag).key not in SHARED_ROUTES


def shortened(tag: str) -> Iterator[str]:
    """A tag in lower case, and with its last subtag removed again and again.

    A singleton goes with what follows it: `zh-x-private` is followed by `zh`.
    """
    subtags = tag.lower().replace("_", "-").split("-")
    while subtags:
        yield "-".join(subtags)
        subtags.pop()
        while subtags and len(subtags[-1]) == 1:
            subtags.pop()


def same_language(first: str, second: str) -> bool:
    """Whether two tags name the same language, whatever its region or script."""
    return [*shortened(first)][-1] == [*shortened(second)][-1]


@dataclass(frozen=True, slots=True)
class LanguageChange:
    """A language that is to be spoken from now on, and why."""

    language: str
    reason: LanguageReason
    detected_by: ProviderTraits | None = None
    """Who found it out; None if it was asked for."""


class LanguageTracker:
    """The language of one session, and the route that follows from it."""

    def __init__(
        self,
        router: Router,
        policy: RoutingPolicy,
        language: str = "",
        *,
        retranscribe: bool = False,
    ) -> None:
        """`language`: a tag; empty if none is known.

        `retranscribe`: the sentence that reveals another language is told again by who speaks it.
        """
        self._router = router
        self._policy = policy
        self.retranscribe = retranscribe
        self.language = language
        self.route = router.lookup(language)
        self.pending: LanguageChange | None = None
        """A change that is to be made as soon as it cuts no sentence in two."""
        self._candidate = ""
        self._candidate_finals = 0
        """Finals in a row in the other language."""

    def __repr__(self) -> str:
        return (
            f"LanguageTracker(language={self.language!r}, route={self.route.key!r}, {self.pending})"
        )

    def request(self, language: str) -> None:
        """The caller says which language is spoken from now on; empty: nobody knows."""
        self._forget()
        self.pending = (
            LanguageChange(language, LanguageReason.REQUESTED)
            if language != self.language
            else None
        )

    def observe(self, language: str, text: str, finder: ProviderTraits) -> bool:
        """A provider that reports languages told new words in a FINAL.

        Whether that reveals a change: two finals in a row do, and a long one by itself.
        """
        if language.lower() in UNKNOWN_LANGUAGES or (
            self.language.lower() not in UNKNOWN_LANGUAGES
            and same_language(language, self.language)
        ):
            self._forget()
            return False
        known = bool(self._candidate) and same_language(language, self._candidate)
        self._candidate_finals = self._candidate_finals + 1 if known else 1
        self._candidate = language
        if _words(text, language) >= self._policy.min_words:
            reason = LanguageReason.LONG_FINAL
        elif self._candidate_finals >= self._policy.consecutive_finals:
            reason = LanguageReason.CONSECUTIVE_FINALS
        else:
            return False
        self._forget()
        self.pending = LanguageChange(language, reason, finder)
        return True

    def apply_change(self) -> LanguageChange | None:
        """Make the pending change, if there is one; returns it.

        A language that was discovered and has no route of its own stays where none is known: only
        there a caller who changes it again is followed. In any other route, too, who discovered it
        can hear it, and serves if nobody else there does.
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

    def _forget(self) -> None:
        self._candidate, self._candidate_finals = "", 0


def _words(text: str, language: str) -> float:
    found = tokenize(text, language)
    spaced = sum(is_spaced(t.norm) for t in found)
    return spaced + (len(found) - spaced) / CHARACTERS_PER_WORD
