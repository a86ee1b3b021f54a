"""A configured chain, with the providers' addresses replaced by those of fakes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import aiohttp
from livekit.agents import LanguageCode

from ...config import Config, load
from ...core.policy import Policies
from ...core.routing.language import DEFAULT
from ...fleet import MemoryHealth
from ...setup import Setup
from ...stt import ResilientSTT
from ...testing.harness.trial import FAKES, Fake
from ...testing.speech.reference import ReferenceSpeech
from ..problems import Problem

_SPOKEN = {ReferenceSpeech.load(name).language: name for name in ReferenceSpeech.names()}
_DEFAULT = {
    "providers": {
        "cartesia": {"plugin": "cartesia", "options": {"model": "ink-whisper"}},
        "deepgram": {"plugin": "deepgram", "options": {"model": "nova-3"}},
    }
}


@dataclass(frozen=True)
class ConfiguredChain:
    """The route of a language in a configuration; it is read anew in each process.

    Attributes:
        source: The path; None for Cartesia, then Deepgram.
        names: The providers of the route.
    """

    source: str | None
    language: str
    names: tuple[str, ...]

    @property
    def plugins(self) -> dict[str, str]:
        """The plugin of each provider of the route by name, in order."""
        providers = _loaded(self.source).providers
        return {name: providers[name].factory.plugin for name in self.names}

    def stt(
        self,
        servers: Mapping[str, Fake],
        http: aiohttp.ClientSession,
        policies: Policies | None,
    ) -> ResilientSTT:
        """What the configuration makes, with its policies unless others are given."""
        options = {
            name: {"base_url": server.url, "api_key": "fake-key", "http_session": http}
            for name, server in servers.items()
        }
        # of other routes no provider has to be made
        config = _loaded(self.source).with_routes({DEFAULT: self.names})
        # what fakes do is nothing that a fleet should know
        plan = replace(Setup.from_config(config.with_options(options)), health_store=MemoryHealth())
        if policies:
            plan = replace(plan, policies=policies)
        return ResilientSTT(plan, language=self.language)


def configured(source: str | None, language: str) -> ConfiguredChain:
    """The chain of a language.

    Raises:
        ConfigurationError: the configuration is broken.
        Problem: there are no fakes for its providers, or it has no fallback.
    """
    config = _loaded(source)
    names = config.chain(language)
    for name in names:
        maker = config.providers[name].factory
        if maker.plugin not in FAKES or maker.kind != "STT":
            fakes = ", ".join(f"{plugin}.STT" for plugin in FAKES)
            raise Problem(
                f"{name} is a {maker.title}, and there are fakes for {fakes} only; "
                "give chaos a configuration without it"
            )
    if len(names) < 2:
        raise Problem(
            f"the route of {language!r} is {names[0]} alone; chaos needs a fallback to try"
        )
    return ConfiguredChain(source, language, names)


def recording_in(language: str) -> str:
    """The name of the recording in a language.

    Raises:
        Problem: there is none.
    """
    base = LanguageCode(language).language
    for tag, name in _SPOKEN.items():
        if LanguageCode(tag).language == base:
            return name
    raise Problem(f"nobody speaks {language!r} here; choose from: {', '.join(sorted(_SPOKEN))}")


@functools.cache
def _loaded(source: str | None) -> Config:
    return load(_DEFAULT if source is None else source)
