"""The fake providers that commands are given by name, and whether their plugins are installed."""

from __future__ import annotations

from ..config.specs import ProviderSpec
from ..phrasing import nearest
from ..providers import plugins
from ..providers.model_strings import INFERENCE
from ..testing.fakes.registry import FAKES
from ..testing.harness.trial import Chain
from .command_error import CommandError

_EXTRA = 'pip install "livekit-resilient-stt[providers]"'
"""Installs the plugins of all fakes."""


def fake_of(spec: ProviderSpec) -> str | None:
    """Return the name of the fake that stands in for a configured provider; None if there is
    none."""
    made = (spec.factory.plugin, spec.factory.kind)
    fitting = (name for name, f in FAKES.items() if (f.plugin, f.plugin_class) == made)
    return next(fitting, None)


def known_fake(name: str) -> str:
    """Return the name of a fake.

    Raises:
        CommandError: There is no fake of that name.
    """
    if name not in FAKES:
        raise CommandError(f"there is no fake provider {name!r}{nearest(name, FAKES)}")
    return name


def usable_fake(name: str) -> str:
    """Return the name of a fake whose plugin is installed.

    Raises:
        CommandError: There is no fake of that name, or its plugin is not installed.
        ConfigurationError: The plugin cannot be imported, or lacks the class.
    """
    fake = FAKES[known_fake(name)]
    if not is_installed(name):
        package = f"livekit-plugins-{fake.plugin}"
        raise CommandError(f"{name} needs the package {package}; {_EXTRA} brings it")
    plugins.find(fake.plugin, fake.plugin_class)
    return name


def is_installed(name: str) -> bool:
    """Whether the plugin of a fake is installed."""
    plugin = FAKES[name].plugin
    return plugin == INFERENCE or plugin in plugins.installed()


def healthy_partner(name: str) -> str:
    """Return the provider that stands beside a fake if no other is named: Deepgram, or Cartesia
    beside that."""
    return "cartesia" if name == "deepgram" else "deepgram"


def named_chain(primary: str | None, fallback: str | None) -> Chain:
    """Return the chain of two fakes; a name that is not given is that of the healthy partner.

    Raises:
        CommandError: A name is wrong, its plugin is not installed, or both are the same.
        ConfigurationError: A plugin cannot be imported.
    """
    for name in filter(None, (primary, fallback)):
        usable_fake(name)
    first = primary or healthy_partner(fallback or "")
    second = fallback or healthy_partner(first)
    if first == second:
        raise CommandError(f"--primary and --fallback are both {first}; name two providers")
    return Chain((first, second))
