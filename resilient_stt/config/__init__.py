"""The typed configuration, from a YAML or TOML file, a dict, or the environment.

`load` reads and checks it, and needs neither keys nor network. `Config.make_providers` needs the
keys. `issues` holds what is wrong; `source` and `yamlfile` read; `models` and `diagnosis` check the
form with pydantic; `specs` and `routes` check it against the installed plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from livekit.agents import LanguageCode, stt

from ..core.policy import Policies, ProviderTraits
from ..core.routing.language import DEFAULT, Router
from ..errors import ConfigurationError
from ..fleet import DefaultHealth, HealthStore, store_by_name
from ..phrasing import quoted
from ..providers import plugins
from ..providers.traits import traits_of
from ..recording.recording_options import RecordingOptions
from .diagnosis import validated
from .issues import ConfigIssue, Document
from .routes import RouteChecks
from .source import VARIABLE, read
from .specs import ProviderChecks, ProviderSpec, language_issue
from .tags import tag_issue

__all__ = ["VARIABLE", "Config", "ProviderSpec", "load"]


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that was checked. Its repr shows none of its values."""

    document: Document = field(repr=False)
    """The data that it was read from."""
    providers: Mapping[str, ProviderSpec] = field(repr=False)
    """All providers by name, in the order of the configuration; not made yet."""
    routes: dict[str, tuple[str, ...]]
    """Names of providers in order of preference, by BCP 47 tag in its normal form. `default` is
    always there, `detect` only if it was configured."""
    policies: Policies = field(repr=False)
    retranscribe: bool = False
    store: HealthStore = field(default_factory=DefaultHealth)
    recording: RecordingOptions | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What the user calls it: the path, or `the configuration`."""
        return self.document.name

    def with_options(self, options: Mapping[str, Mapping[str, Any]]) -> Config:
        """A copy with more options for some providers, by name. They are not checked."""
        specs = {
            name: replace(spec, options={**spec.options, **options.get(name, {})})
            for name, spec in self.providers.items()
        }
        return replace(self, providers=specs)

    def with_routes(self, routes: Mapping[str, tuple[str, ...]]) -> Config:
        """A copy with other routes. They are not checked."""
        return replace(self, routes=dict(routes))

    def chain(self, language: str) -> tuple[str, ...]:
        """The names of the providers that serve a language, in order of preference."""
        router = Router(
            {key: [ProviderTraits(name=n) for n in c] for key, c in self.routes.items()}
        )
        return tuple(p.name for p in router.lookup(language).providers)

    def language_issues(self, language: str) -> list[ConfigIssue]:
        """What is wrong with a language that is asked for, by the rules of a route of its own.

        A provider of its route whose model does not support it is an issue. `language` is a BCP 47
        tag; other text is an issue, too.
        """
        if issue := tag_issue(language, quoted(language)):
            return [ConfigIssue((), issue)]
        tag = str(LanguageCode(language))
        specs = [self.providers[name] for name in self.chain(tag)]
        return [
            ConfigIssue(("providers", spec.name), language_issue(spec, tag, quoted(tag)))
            for spec in specs
            if not (spec.skip_language_check or spec.languages.supports(tag))
        ]

    @property
    def used(self) -> list[str]:
        """Names of the providers that a route names, in the order of `providers`."""
        named = {name for chain in self.routes.values() for name in chain}
        return [name for name in self.providers if name in named]

    def make(self, name: str) -> stt.STT[Any]:
        """Make one provider, with the key from its options or from the environment.

        It connects to nothing.

        Raises:
            NoKey: there is no key.
            ConfigurationError: the plugin refuses its options.
        """
        spec = self.providers[name]
        return plugins.make(spec.factory, spec.options, spec.variable, spec.hidden)

    def make_providers(self) -> dict[str, stt.STT[Any]]:
        """Make the providers that a route names, in the order in which they are configured.

        Raises:
            ConfigurationError: keys are missing, or plugins refuse their options; lists all of
                them.
        """
        made: dict[str, stt.STT[Any]] = {}
        issues: list[ConfigIssue] = []
        for name in self.used:
            try:
                made[name] = self.make(name)
            except ConfigurationError as error:
                issues.append(ConfigIssue(("providers", name), str(error)))
        if issues:
            raise self.document.configuration_error(issues)
        return made

    def traits(self, name: str, provider: stt.STT[Any]) -> ProviderTraits:
        """What is known of a provider that was made under this name."""
        return traits_of(name, provider, self.providers[name].given)


def load(source: str | Path | Mapping[str, Any] | None = None) -> Config:
    """Read a configuration and check all of it; needs neither keys nor network.

    Args:
        source: the path of a YAML or TOML file, or a dict. By default the path in the environment
            variable `RESILIENT_STT_CONFIG`.

    Raises:
        ConfigurationError: lists everything that is wrong, with its place, and its line if the
            format tells it. It repeats no option and no value from a variable.
    """
    document, unreadable = read(source)
    model, issues = validated(document)
    providers = ProviderChecks(document)
    specs = providers.specs(model.given_providers())
    routes = RouteChecks(document, specs)
    chains = routes.routes(model.routes)
    # A value whose variable is not set is an empty text, which is wrong in other ways, too.
    reported = {issue.place for issue in unreadable}
    found = (*issues, *providers.issues, *routes.issues)
    later = [issue for issue in found if issue.place not in reported]
    if unreadable or later:
        raise document.configuration_error([*unreadable, *later])
    return Config(
        document=document,
        providers=specs,
        routes=chains or {DEFAULT: tuple(specs)},
        policies=model.policies(),
        retranscribe=model.retranscribe,
        store=store_by_name(model.health.given_store),
        recording=model.recording(),
    )
