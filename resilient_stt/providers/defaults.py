"""The providers of `ResilientSTT()`, and the names that providers get."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from livekit.agents import stt

from ..errors import ConfigurationError
from ..observe import logger
from .model_strings import INFERENCE

LOCAL = "local"
"""The name by which a configuration finds `resilient_stt.local.STT`, which is in no plugin."""


@dataclass(frozen=True, slots=True)
class _Default:
    """A provider that `ResilientSTT()` makes if the environment has its API key."""

    name: str
    variable: str

    def make(self, base_url: str | None) -> stt.STT[Any]:
        options: dict[str, Any] = {"base_url": base_url} if base_url else {}
        if self.name == "cartesia":
            from livekit.plugins import cartesia

            # without a model the plugin (1.8.9) picks ink-2, which has no word times
            return cartesia.STT(model="ink-whisper", language="en", **options)
        from livekit.plugins import deepgram

        return deepgram.STT(model="nova-3", **options)


DEFAULTS = (
    _Default("cartesia", "CARTESIA_API_KEY"),
    _Default("deepgram", "DEEPGRAM_API_KEY"),
)

DEFAULT_CONFIG = {
    "providers": {
        "cartesia": {"plugin": "cartesia", "options": {"model": "ink-whisper"}},
        "deepgram": {"plugin": "deepgram", "options": {"model": "nova-3"}},
    }
}
"""The same providers as a configuration, for what asks about their models."""


def from_environment(base_urls: Mapping[str, str | None] | None = None) -> list[stt.STT[Any]]:
    """Make Cartesia ink-whisper and Deepgram nova-3, in this order of preference.

    One without an API key in the environment is left out with a warning.

    Args:
        base_urls: by provider name, the URL to use instead of the vendor's.

    Raises:
        ConfigurationError: there is no API key at all.
    """
    missing = [d for d in DEFAULTS if not os.environ.get(d.variable)]
    if len(missing) == len(DEFAULTS):
        names = " and ".join(d.variable for d in DEFAULTS)
        raise ConfigurationError(
            f"no speech-to-text provider can be used: set {names} in the environment "
            "(one is enough to start, two to survive an outage), or pass providers: "
            "ResilientSTT([cartesia.STT(model='ink-whisper'), deepgram.STT()])"
        )
    for default in missing:
        logger.warning(
            f"provider left out: {default.name} has no key: set {default.variable}",
            provider=default.name,
            set=default.variable,
        )
    urls = base_urls or {}
    return [d.make(urls.get(d.name)) for d in DEFAULTS if d not in missing]


def name_providers(providers: Iterable[stt.STT[Any]]) -> dict[str, stt.STT[Any]]:
    """Give providers short unique names, in order: `cartesia`, `deepgram`, `deepgram-2`.

    An STT of LiveKit Inference is named after its model, `deepgram/nova-3`.
    """
    named: dict[str, stt.STT[Any]] = {}
    for provider in providers:
        base = name = plugin_of(provider)
        if base == INFERENCE and provider.model != "unknown":
            base = name = provider.model
        count = 1
        while name in named:
            count += 1
            name = f"{base}-{count}"
        named[name] = provider
    return named


def plugin_of(provider: stt.STT[Any]) -> str:
    """Return the plugin of a provider: `cartesia` for `livekit.plugins.cartesia.STT`.

    For other classes it is the vendor that they report, or else the name of the class.
    """
    parts = type(provider).__module__.split(".")
    if parts[:2] == ["livekit", "plugins"] and len(parts) > 2:
        return parts[2]
    if parts[:3] == ["livekit", "agents", "inference"]:
        return INFERENCE
    if provider.provider != "unknown":
        return provider.provider.lower().replace(" ", "-")
    return type(provider).__name__.lower()
