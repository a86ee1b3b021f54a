"""Hands changed options to every provider whose `update_options` takes them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from livekit.agents import stt

from ..errors import ConfigurationError
from ..phrasing import nearest


def fan_out(
    providers: Mapping[str, stt.STT[Any]], only: str, options: Mapping[str, Any]
) -> Iterator[str]:
    """Update each provider, and yield the names of those that were changed.

    Args:
        providers: by name.
        only: the name of the only provider that the options are for; empty for all.
        options: keyword arguments for the providers' `update_options`.

    Raises:
        ConfigurationError: no provider takes an option, or none is called `only`, and nothing was
            changed; or providers refused their options, and all others were changed.
    """
    if only and only not in providers:
        raise ConfigurationError(f"there is no provider {only!r}{nearest(only, providers)}")
    asked = {only: providers[only]} if only else providers
    taken = {name: _taken(provider) for name, provider in asked.items()}
    known = sorted({option for names in taken.values() for option in names})
    for option in options:
        if option not in known:
            raise ConfigurationError(
                f"update_options() of {', '.join(asked)} takes no {option!r}"
                f"{nearest(option, known)}"
            )
    refused = []
    for name, provider in asked.items():
        theirs = {option: value for option, value in options.items() if option in taken[name]}
        if not theirs:
            continue
        try:
            provider.update_options(**theirs)  # type: ignore[attr-defined]
        except Exception as error:
            refused.append(f"{name} ({error})")
        else:
            yield name
    if refused:
        raise ConfigurationError(f"update_options() was refused by {', '.join(refused)}")


def _taken(provider: stt.STT[Any]) -> frozenset[str]:
    """The options that a provider's `update_options` takes; `language` follows from the route."""
    update = getattr(provider, "update_options", None)
    if not callable(update):
        return frozenset()
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(update).parameters.values()
    return frozenset(p.name for p in parameters if p.kind in kinds) - {"language"}
