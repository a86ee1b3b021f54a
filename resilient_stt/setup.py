"""What a `ResilientSTT` is made of, from code or from a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from livekit.agents import stt

from .arguments import validate_traits
from .core.policy import Policies, ProviderTraits
from .core.routing.language import DEFAULT, Router
from .fleet import DefaultHealth, HealthStore
from .fleet.identity import ProviderIdentity, identify
from .providers.defaults import name_providers
from .providers.traits import traits_of
from .recording.recording_options import RecordingOptions

if TYPE_CHECKING:  # at run time it would import a YAML reader, which takes 0.1 s
    from .config import Config


@dataclass(frozen=True, slots=True)
class Setup:
    """Providers, traits and options by provider name, and routes (names in order) by language."""

    providers: dict[str, stt.STT[Any]]
    traits: dict[str, ProviderTraits]
    routes: dict[str, tuple[str, ...]]
    policies: Policies = field(default_factory=Policies)
    retranscribe: bool = False
    health_store: HealthStore = field(default_factory=DefaultHealth)
    recording: RecordingOptions | None = None
    """What is recorded of streams, and where; nothing by default."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """The options that providers were configured with; empty where they were given as objects."""

    @classmethod
    def from_objects(
        cls,
        providers: Sequence[stt.STT[Any]],
        policies: Policies | None,
        store: HealthStore | None = None,
        traits: object = None,
    ) -> Setup:
        """Make one route for all languages, with the providers in the order given.

        Raises:
            ConfigurationError: `traits`, by provider name, are impossible.
        """
        named = name_providers(providers)
        given = validate_traits(traits, named)
        return cls(
            providers=named,
            traits={
                name: traits_of(name, provider, given.get(name)) for name, provider in named.items()
            },
            routes={DEFAULT: tuple(named)},
            policies=policies or Policies(),
            health_store=store or DefaultHealth(),
        )

    @classmethod
    def from_config(cls, config: Config) -> Setup:
        """Make the configured providers.

        Raises:
            ConfigurationError: API keys are missing, or plugins refuse their options.
        """
        providers = config.make_providers()
        return cls(
            providers=providers,
            traits={name: config.traits(name, made) for name, made in providers.items()},
            routes=config.routes,
            policies=config.policies,
            retranscribe=config.retranscribe,
            health_store=config.store,
            recording=config.recording,
            options={name: config.providers[name].options for name in providers},
        )

    def identities(self) -> dict[str, ProviderIdentity]:
        """Return who each provider is by its name, the same in every process."""
        found: dict[str, ProviderIdentity] = {}
        alike: Counter[str] = Counter()
        for name, provider in self.providers.items():
            variable = self.traits[name].key_variable
            identity = identify(provider, self.options.get(name, {}), variable)
            alike[identity.key] += 1
            found[name] = identity.numbered(alike[identity.key])
        return found

    def key(self, name: str) -> str:
        """Return the key of a provider in a health store."""
        return self.identities()[name].key

    @property
    def router(self) -> Router:
        """A router over the routes, with the traits of their providers."""
        return Router({key: [self.traits[n] for n in names] for key, names in self.routes.items()})
