"""Checks the providers of a configuration against the plugins that are installed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from livekit.agents import LanguageCode

from ..phrasing import listed, nearest
from ..providers import plugins
from ..providers.keys import needed_variable
from ..providers.plugins import NoProvider, ProviderFactory
from ..providers.traits import (
    MULTI,
    LanguageSupport,
    batch_only,
    language_support,
    models_supporting,
)
from .issues import ConfigIssue, Document, Place
from .tags import tag_issue

OTHERWISE = "or set `skip_language_check: true` on the provider"
"""The end of a message, for users who know better than our table."""

_KEY = "api_key"
_SECRET = re.compile(r"key$|secret|token|password|credential|auth", re.IGNORECASE)
_ADDRESS_WITH_SECRET = re.compile(r"//[^/]*@")


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A configured provider, checked but not made. Its repr shows no values of options."""

    name: str
    factory: ProviderFactory
    options: Mapping[str, Any] = field(repr=False)
    languages: LanguageSupport = field(repr=False)
    shown_model: str
    """The model, or the variable that it came from, for messages."""
    skip_language_check: bool
    """Whether it may be in the route of any language."""
    given: Mapping[str, Any] = field(repr=False)
    """Traits that the user set, or that follow from the options."""
    variable: str
    """The environment variable that holds its key, by the options or by convention; empty if
    unknown."""
    hidden: frozenset[str] = field(repr=False)
    """Texts that no message may repeat."""

    @property
    def title(self) -> str:
        """Its name and model, for messages."""
        return f"{self.name} ({self.shown_model})"


class ProviderChecks:
    """Looks up plugins, checks options and languages, and collects issues."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.issues: list[ConfigIssue] = []

    def specs(self, entries: Mapping[str, Any]) -> dict[str, ProviderSpec]:
        """The providers that are valid, by name."""
        if self._document.data.get("providers") == {}:
            self._wrong(("providers",), "is empty; name at least one provider")
        specs = {name: self._provider(name, entry) for name, entry in entries.items()}
        return {name: spec for name, spec in specs.items() if spec}

    def _wrong(self, place: Place, message: str) -> None:
        self.issues.append(ConfigIssue(place, message))

    def _provider(self, name: str, entry: Any) -> ProviderSpec | None:
        place: Place = ("providers", name)
        factory = self._factory(place, entry)
        if factory is None:
            return None
        options = self._options((*place, "options"), factory, entry.options)
        given = entry.given_traits()
        support = self._language_support(place, factory, options, given)
        given.pop("languages", None)
        if options.get(_KEY):
            variables = self._document.variables.get((*place, "options", _KEY), ())
            given["key_variable"] = " and ".join(variables)
        spec = ProviderSpec(
            name=name,
            factory=factory,
            options=options,
            languages=support,
            shown_model=self._document.shown_option(place, "model", support.model),
            skip_language_check=entry.skip_language_check,
            given=given,
            variable=given.get("key_variable", needed_variable(factory.plugin)),
            hidden=frozenset(self._hidden((*place, "options"), options)),
        )
        self._own_language((*place, "options", "language"), spec)
        return spec

    def _options(
        self, place: Place, factory: ProviderFactory, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        options, wrong = plugins.checked_options(factory, given)
        for option, message in wrong.items():
            inner = (option,) if option.isidentifier() else ()
            self._wrong((*place, *inner), message)
        for option in batch_only(factory.plugin, factory.kind, options):
            message = f"{factory.title} cannot stream with {option}; `language: {MULTI}` can"
            self._wrong((*place, option), message)
        key = options.get(_KEY)
        if isinstance(key, str) and key != key.strip():
            # HTTP clients refuse it as a header, with an error that does not say why.
            self._wrong((*place, _KEY), "begins or ends with white space; was a line break copied?")
        return options

    def _language_support(
        self,
        place: Place,
        factory: ProviderFactory,
        options: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> LanguageSupport:
        known = language_support(factory.plugin, factory.kind, options, _default_model(factory))
        known = replace(
            known, language_detection=given.get("language_detection", known.language_detection)
        )
        languages = given.get("languages")
        if languages is None:
            return known
        for number, language in enumerate(languages):
            here = (*place, "traits", "languages", number)
            what = tag_issue(language, self._document.shown(here, language))
            if what:
                self._wrong(here, what)
        return replace(known, languages=frozenset(languages))

    def _own_language(self, place: Place, spec: ProviderSpec) -> None:
        language = spec.options.get("language")
        if language and isinstance(language, str) and not spec.skip_language_check:
            tag = str(LanguageCode(language))
            if not (spec.languages.language_detection or spec.languages.supports(tag)):
                shown = self._document.shown_option(("providers", spec.name), "language", tag)
                self._wrong(place, language_issue(spec, tag, shown))

    def _factory(self, place: Place, entry: Any) -> ProviderFactory | None:
        try:
            return plugins.find(entry.plugin, entry.kind)
        except NoProvider as error:
            where = (*place, error.key)
            shown = self._document.shown(where, "")
            if where in self._document.variables:  # do not repeat its value, which may be a secret
                hint = nearest("", error.available)
                self._wrong(where, f"{shown} does not hold the name of a usable {error.key}{hint}")
            else:
                self._wrong(where, str(error))
            return None

    def _hidden(self, place: Place, value: Any) -> Iterator[str]:
        """The texts in options that came from a variable or look like secrets."""
        if isinstance(value, str):
            secret = any(isinstance(step, str) and _SECRET.search(step) for step in place)
            if value and (
                secret or place in self._document.variables or _ADDRESS_WITH_SECRET.search(value)
            ):
                yield value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                yield from self._hidden((*place, key), item)
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                yield from self._hidden((*place, number), item)


def language_issue(spec: ProviderSpec, tag: str, shown: str) -> str:
    """The message that a model does not support a language, with what to do.

    `shown` is the tag as the message may repeat it.
    """
    spoken = listed(sorted(spec.languages.languages or ()), 12)
    others = models_supporting(spec.factory.plugin, spec.factory.kind, tag)
    advice = f"use {' or '.join(others)}" if others else "use a model that does"
    return f"{spec.title} does not support {shown}, only {spoken}; {advice}, {OTHERWISE}"


def _default_model(factory: ProviderFactory) -> str:
    """The default model of the constructor; empty if it cannot be found."""
    try:
        parameter = inspect.signature(factory.make).parameters.get("model")
    except (TypeError, ValueError):
        return ""
    return parameter.default if parameter and isinstance(parameter.default, str) else ""
