"""Options that are changed while streams are open, for every provider that has them."""

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
    """Give each provider the options that its `update_options` takes; yields whose changed.

    `only`: the name of the one that they are for; empty for all.

    Raises:
        ConfigurationError: nobody takes one of them, or no such name, and nothing was changed; or,
            after all others were changed, providers that refuse what they are given.
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
    """The options of a provider's `update_options`; `language` is ours to change."""
    update = getattr(provider, "update_options", None)
    if not callable(update):
        return frozenset()
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(update).parameters.values()
    return frozenset(p.name for p in parameters if p.kind in kinds) - {"language"}
