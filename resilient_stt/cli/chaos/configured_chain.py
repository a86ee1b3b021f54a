"""The chain of a configuration, connected to fake providers."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from livekit.agents import LanguageCode

from ...config import Config, load
from ...core.policy import Policies
from ...core.routing.language import DEFAULT
from ...fleet import MemoryHealth
from ...phrasing import listed, nearest
from ...providers.defaults import DEFAULT_CONFIG
from ...setup import Setup
from ...stt import ResilientSTT
from ...testing.fakes.registry import FAKES
from ...testing.fakes.server import FakeServer
from ...testing.speech.reference import ReferenceSpeech
from ..command_error import CommandError
from ..fake_names import fake_of

_RECORDINGS = {ReferenceSpeech.load(name).language: name for name in ReferenceSpeech.names()}


@dataclass(frozen=True)
class ConfiguredChain:
    """The route of a language in a configuration.

    It holds the file's path and not what the file says, so that it can be sent to other processes;
    each process reads the file itself.

    Attributes:
        source: The path of the file; None for Cartesia, then Deepgram.
        language: A BCP 47 tag.
        names: The names of the route's providers, in order of preference.
    """

    source: str | None
    language: str
    names: tuple[str, ...]

    @property
    def plugins(self) -> dict[str, str]:
        """The name of the fake of each provider of the route, by the provider's name, in order."""
        providers = _loaded(self.source).providers
        return {name: fake_of(providers[name]) or "" for name in self.names}

    def stt(self, servers: Mapping[str, FakeServer], policies: Policies | None) -> ResilientSTT:
        """Return what the configuration describes, with the configuration's policies if `policies`
        is None."""
        options = {name: server.address for name, server in servers.items()}
        # Only the providers of this route are created. Others may need keys or other plugins.
        config = _loaded(self.source).with_routes({DEFAULT: self.names})
        # A fleet's shared health must not learn of the failures of fake providers.
        setup = replace(
            Setup.from_config(config.with_options(options)),
            health_store=MemoryHealth(isolated=True),
        )
        if policies:
            setup = replace(setup, policies=policies)
        for name, server in servers.items():
            server.redirect(setup.providers[name])
        return ResilientSTT(setup, language=self.language)


def configured_chain(
    source: str | None, language: str, without: Collection[str] = ()
) -> ConfiguredChain:
    """Return the chain of a language's route, but for the providers named in `without`.

    Raises:
        ConfigurationError: The configuration has mistakes.
        CommandError: There is no fake of one of its providers, or the chain has no fallback, or
            `without` names a provider that is not in it.
    """
    config = _loaded(source)
    route = config.chain(language)
    for name in without:
        if name not in route:
            hint = nearest(name, route)
            raise CommandError(
                f"--without {name}: the route of {language!r} has no such provider{hint}"
            )
    names = tuple(name for name in route if name not in without)
    if not names:
        raise CommandError(f"--without leaves no provider of the route of {language!r}")
    for name in names:
        if fake_of(config.providers[name]) is None:
            fakes = listed([f"{fake.plugin}.{fake.plugin_class}" for fake in FAKES.values()])
            raise CommandError(
                f"{name} is {config.providers[name].factory.title}, but there are fake providers "
                f"of {fakes} only; leave it out with --without {name}"
            )
    if len(names) < 2:
        raise CommandError(
            f"the route of {language!r} has one provider, {names[0]}; chaos needs a fallback, too"
        )
    return ConfiguredChain(source, language, names)


def recording_in(language: str) -> str:
    """Return the name of the reference recording in a language.

    Raises:
        CommandError: There is no recording in that language.
    """
    base = LanguageCode(language).language
    for tag, name in _RECORDINGS.items():
        if LanguageCode(tag).language == base:
            return name
    raise CommandError(
        f"there is no recording in {language!r}; choose from: {', '.join(sorted(_RECORDINGS))}"
    )


@functools.cache
def _loaded(source: str | None) -> Config:
    return load(DEFAULT_CONFIG if source is None else source)
