"""What a `ResilientSTT` is made of, wherever that was told: in code, or in a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from livekit.agents import stt

from .core.policy import Policies, ProviderTraits
from .core.routing.language import DEFAULT, Router
from .fleet import HealthStore, MemoryHealth
from .fleet.identity import provider_key
from .providers.defaults import name_providers
from .providers.traits import traits_of

if TYPE_CHECKING:
    from .config import Config


@dataclass(frozen=True, slots=True)
class Setup:
    """Providers by name, what is known of each, and their routes by language."""

    providers: dict[str, stt.STT[Any]]
    traits: dict[str, ProviderTraits]
    routes: dict[str, tuple[str, ...]]
    policies: Policies = field(default_factory=Policies)
    retranscribe: bool = False
    health_store: HealthStore = field(default_factory=MemoryHealth)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """What providers were configured with, by their names."""

    @classmethod
    def from_objects(
        cls,
        providers: Sequence[stt.STT[Any]],
        policies: Policies | None,
        store: HealthStore | None = None,
    ) -> Setup:
        """One route, in the order given."""
        named = name_providers(providers)
        return cls(
            providers=named,
            traits={name: traits_of(name, provider) for name, provider in named.items()},
            routes={DEFAULT: tuple(named)},
            policies=policies or Policies(),
            health_store=store or MemoryHealth(),
        )

    @classmethod
    def from_config(cls, config: Config) -> Setup:
        """As it was configured.

        Raises:
            ConfigurationError: keys are missing, or plugins refuse their options.
        """
        providers = config.make_providers()
        return cls(
            providers=providers,
            traits={name: config.traits(name, made) for name, made in providers.items()},
            routes=config.routes,
            policies=config.policies,
            retranscribe=config.retranscribe,
            health_store=config.store,
            options={name: config.providers[name].options for name in providers},
        )

    def key(self, name: str) -> str:
        """What a provider is called in every process, for a health store."""
        variable = self.traits[name].key_variable
        return provider_key(self.providers[name], self.options.get(name, {}), variable)

    @property
    def router(self) -> Router:
        """The routes, with what is known of who serves them."""
        return Router({key: [self.traits[n] for n in names] for key, names in self.routes.items()})
