"""Checks the routes of a configuration: their languages, and the providers in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from livekit.agents import LanguageCode

from ..core.routing.language import DEFAULT, DETECT, SHARED_ROUTES, UNKNOWN_LANGUAGES
from ..phrasing import listed, nearest, quoted
from .issues import ConfigIssue, Document, Place
from .specs import OTHERWISE, ProviderSpec, language_issue
from .tags import tag_issue


class RouteChecks:
    """Checks routes and collects issues."""

    def __init__(self, document: Document, specs: Mapping[str, ProviderSpec]) -> None:
        self.issues: list[ConfigIssue] = []
        self._specs = specs
        self._document = document
        self._names = _keys(document.data.get("providers"))  # invalid providers included
        self._routes = _keys(document.data.get("routes"))

    def routes(self, chains: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
        """The chains by the normal form of their tag."""
        normal: dict[str, tuple[str, ...]] = {}
        for key, chain in chains.items():
            place: Place = ("routes", key)
            tag = self._tag(place, key)
            if tag in normal:
                self._wrong(place, f"a second route for {quoted(tag)}; keep one")
            for number, name in enumerate(chain):
                self._check((*place, number), tag, name, chain[:number])
            if tag:
                normal[tag] = tuple(chain)
        if isinstance(self._document.data.get("routes"), Mapping):
            self._check_default()
        return normal

    def _wrong(self, place: Place, message: str) -> None:
        self.issues.append(ConfigIssue(place, message))

    def _check_default(self) -> None:
        if DEFAULT not in map(str.lower, self._routes):
            self._wrong(
                ("routes",),
                f"{DEFAULT!r} is missing: the providers for a language without a route, such as "
                f"{DEFAULT}: [{listed(self._names, 3)}]",
            )

    def _tag(self, place: Place, key: str) -> str | None:
        if key.lower() in SHARED_ROUTES:
            return key.lower()
        issue = tag_issue(key, quoted(key))
        special = nearest(key, SHARED_ROUTES)
        if key.lower() in UNKNOWN_LANGUAGES:
            issue = f"is not one language; the route for an unknown language is called {DETECT!r}"
        elif not issue:
            return str(LanguageCode(key))
        elif "did you mean" in special:
            issue = f"{quoted(key)} is not a language tag{special}"
        self._wrong(place, issue)
        return None

    def _check(self, place: Place, tag: str | None, name: str, before: Collection[str]) -> None:
        shown = self._document.shown(place, name)
        if name in before:
            self._wrong(
                place,
                f"{shown} is in this route twice; list each provider once, it is reconnected by "
                "itself",
            )
        elif name not in self._names and name in self._routes:
            self._wrong(place, f"{shown} is a route, not a provider; list the providers themselves")
        elif name not in self._names:
            self._wrong(place, f"unknown provider {shown}{nearest(name, self._names)}")
        elif tag and name in self._specs:
            self._check_language(place, tag, self._specs[name])

    def _check_language(self, place: Place, tag: str, spec: ProviderSpec) -> None:
        if spec.skip_language_check or tag == DEFAULT:
            return
        if tag != DETECT:
            if not spec.languages.supports(tag):
                self._wrong(place, language_issue(spec, tag, tag))
        elif spec.languages.language_detection is False:
            able = spec.factory.plugin == "deepgram"
            advice = "give it" if able else "use one that does, such as Deepgram's nova-3 with"
            self._wrong(
                place,
                f"{spec.title} does not detect languages; {advice} "
                f"`options: {{language: multi}}`, {OTHERWISE}",
            )


def _keys(value: object) -> list[str]:
    return list(value) if isinstance(value, Mapping) else []
