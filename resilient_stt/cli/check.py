"""`resilient-stt check`: validates a configuration and shows what it means."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..config import VARIABLE, Config, ProviderSpec, load
from ..config.issues import ConfigIssue
from ..core.routing.language import DEFAULT, DETECT
from ..errors import ConfigurationError, NoKey
from .env_files import read_env_files
from .terminal import table_console

_WIDTH = 100  # columns of the tables where stdout is not a terminal
_MOST_LANGUAGES = 5  # of a model with more, only their number is shown
_ROUTE_TITLES = {DEFAULT: "default (any other language)", DETECT: "detect (language not known yet)"}


def check(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help=f"A YAML or TOML file; by default the one that {VARIABLE} names.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Validate a configuration; show its providers and which of them serve which language.

    Needs no API keys and no network. A missing key is shown but is not a mistake, because it may
    be set where the agent runs. Variables come from the environment, .env.local and .env.

    If the configuration has mistakes, all of them are listed and the exit status is 2.
    """
    read_env_files()
    loaded = load(config)
    notes = asyncio.run(_create_providers(loaded))
    console = table_console(_WIDTH)
    console.print(_provider_table(loaded, notes), _route_table(loaded))
    console.print(Text(f"{loaded.name}: no mistakes found"), soft_wrap=True)


async def _create_providers(config: Config) -> dict[str, str]:
    """Create every provider and return, by name, what keeps some of them from working.

    Some options are validated only by the plugin that takes them. The plugins need a running event
    loop, as in an agent.

    Raises:
        ConfigurationError: Plugins reject their options. It lists all of them.
    """
    notes: dict[str, str] = {}
    mistakes: list[ConfigIssue] = []
    for name in config.providers:
        try:
            if not config.make(name).capabilities.streaming:
                notes[name] = "cannot stream: pass a vad to from_config()"
        except NoKey as error:
            notes[name] = str(error)
        except ConfigurationError as error:
            mistakes.append(ConfigIssue(("providers", name), str(error)))
    if mistakes:
        raise config.document.configuration_error(mistakes)
    return notes


def _provider_table(config: Config, notes: dict[str, str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("provider", no_wrap=True)
    for column in ("class", "model", "languages", "notes"):
        table.add_column(column, overflow="fold")
    for name, spec in config.providers.items():
        own_notes = [notes[name]] if name in notes else []
        if name not in config.used:
            own_notes.append("not used by any route")
        cells = (name, spec.factory.title, spec.shown_model, _languages(spec))
        table.add_row(*map(Text, cells), Text("; ".join(own_notes), style="yellow"))
    return table


def _languages(spec: ProviderSpec) -> str:
    known = spec.languages.languages
    if spec.skip_language_check or known is None:
        return "unchecked"
    if len(known) <= _MOST_LANGUAGES:
        listed = ", ".join(sorted(known))
    else:
        listed = f"{len(known)} languages"
    return f"detects {listed}" if spec.languages.language_detection else listed


def _route_table(config: Config) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("language", no_wrap=True)
    table.add_column("providers, in order of preference", overflow="fold")
    for tag, chain in config.routes.items():
        table.add_row(Text(_ROUTE_TITLES.get(tag, tag)), Text(" > ".join(chain)))
    return table
