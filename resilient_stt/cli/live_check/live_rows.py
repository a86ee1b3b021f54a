"""All attempts, the providers side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from livekit.agents import stt
from livekit.agents.utils import http_context

from ...config import Config
from ...core.events import ErrorKind
from ...core.policy import ProviderTraits
from ...core.routing.language import SHARED_ROUTES
from ...errors import ConfigurationError
from ...testing.fakes.registry import FAKES
from ..fake_names import fake_of
from .attempt import Attempt, attempt
from .spoken_sample import SpokenSample, sample_in
from .verdicts import verdict_of

_CLOSE_TIMEOUT = 2.0  # seconds that a provider may take to close
_OF_ONE_LANGUAGE = (ErrorKind.BAD_REQUEST, ErrorKind.PROTOCOL, ErrorKind.DROPPED, ErrorKind.SERVER)
"""Failures after which the same provider is asked in its other languages all the same."""


@dataclass(frozen=True, slots=True)
class _Task:
    """What a provider is asked, and the routes that it answers for."""

    language: str
    sample: SpokenSample
    routes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveRow:
    """What one provider showed in one language.

    Attributes:
        provider: its name.
        model: as the user may see it.
        routes: the keys of the routes that it answers for.
        found: the times.
        works: whether it gave a final, or at least was connected where no more can be asked.
        verdict: why not, in words.
    """

    provider: str
    model: str
    routes: tuple[str, ...]
    found: Attempt
    works: bool
    verdict: str


async def run_live(config: Config, models: Mapping[str, str]) -> list[LiveRow]:
    """Ask every provider that a route names, side by side; returns them in their order.

    Each is asked once for each of its languages, one after the other: accounts limit how many
    streams may be open. `models` says what to call the model of each provider.
    """
    async with http_context.open():
        rows = await asyncio.gather(*(_rows(config, name, models[name]) for name in config.used))
    return [row for of_one in rows for row in of_one]


async def run_fake(config: Config, models: Mapping[str, str]) -> list[LiveRow]:
    """The same, with every plugin led to a fake server of its own on this machine."""
    async with http_context.open(), AsyncExitStack() as servers:
        rows = await asyncio.gather(
            *(_fake_rows(config, name, models[name], servers) for name in config.used)
        )
    return [row for of_one in rows for row in of_one]


async def _fake_rows(
    config: Config, name: str, model: str, servers: AsyncExitStack
) -> list[LiveRow]:
    spec = config.providers[name]
    fake = fake_of(spec)
    if fake is None:
        why = f"not asked: there is no fake of {spec.factory.title}"
        return [LiveRow(name, model, _routes(config, name), Attempt(), works=False, verdict=why)]
    server = await servers.enter_async_context(FAKES[fake]())
    return await _rows(config.with_options({name: server.address}), name, model, server.redirect)


async def _rows(
    config: Config,
    name: str,
    model: str,
    redirect: Callable[[stt.STT[Any]], object] = lambda provider: None,
) -> list[LiveRow]:
    try:
        provider = config.make(name)
    except ConfigurationError as error:  # a key is missing
        routes = _routes(config, name)
        return [LiveRow(name, model, routes, Attempt(), works=False, verdict=str(error))]
    try:
        redirect(provider)
        return await _asked(config, name, provider, model or provider.model)
    finally:
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await provider.aclose()


async def _asked(config: Config, name: str, provider: stt.STT[Any], model: str) -> list[LiveRow]:
    traits = config.traits(name, provider)
    rows: list[LiveRow] = []
    found = Attempt()
    for task in _tasks(config, name, traits):
        if _may_differ(found):
            found = await attempt(provider, task.language, task.sample, config.policies)
        works, verdict = verdict_of(found, traits, words_expected=task.sample.is_in_language)
        rows.append(LiveRow(name, model, task.routes, found, works=works, verdict=verdict))
    return rows


def _may_differ(found: Attempt) -> bool:
    """Whether another language of the provider may show something else than this one did."""
    kind = found.failure.kind if found.failure else None
    return found.waited is None and (kind is None or kind in _OF_ONE_LANGUAGE)


def _tasks(config: Config, name: str, traits: ProviderTraits) -> list[_Task]:
    """What to ask a provider: once in each language that its routes open its streams with."""
    usual = config.providers[name].options.get("language")
    tasks: dict[tuple[str, SpokenSample], tuple[str, ...]] = {}
    for route in _routes(config, name):
        is_shared = route in SHARED_ROUTES
        language = "" if is_shared else traits.language_hint(route)
        spoken = (usual if isinstance(usual, str) else "") if is_shared else route
        asked = language, sample_in(spoken)
        tasks[asked] = (*tasks.get(asked, ()), route)
    return [_Task(*asked, routes) for asked, routes in tasks.items()]


def _routes(config: Config, name: str) -> tuple[str, ...]:
    return tuple(route for route, chain in config.routes.items() if name in chain)
