"""`resilient-stt check`: whether a configuration would work, and what it means."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..config import VARIABLE, Config, ProviderSpec, load
from ..config.issues import ConfigIssue
from ..core.routing.language import DEFAULT, DETECT
from ..errors import ConfigurationError, NoKey
from .environment import read_env_files

_WIDTH = 100  # columns of a table that is not for a terminal
_LANGUAGES = 5  # of a model that are written out
_TITLES = {DEFAULT: "default (any other)", DETECT: "detect (none known yet)"}


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
    """Check a configuration; show its providers, and who serves which language.

    Needs no keys and no network: a key that is missing is shown, and is no mistake, for it may be
    set where the agent runs. Variables come from the environment, .env.local and .env. Exit status
    2 and all mistakes, if there are any.
    """
    read_env_files()
    checked = load(config)
    notes = asyncio.run(_tried(checked))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(_providers(checked, notes), _routes(checked))
    console.print(Text(f"{checked.name}: no mistakes"), soft_wrap=True)


async def _tried(config: Config) -> dict[str, str]:
    """Make all providers, with a running loop, as an agent does; by name what they lack.

    Raises:
        ConfigurationError: plugins refuse their options; all of them.
    """
    notes: dict[str, str] = {}
    mistakes: list[ConfigIssue] = []
    for name in config.providers:
        try:
            if not config.make(name).capabilities.streaming:
                notes[name] = "cannot stream: give from_config() a vad"
        except NoKey as error:
            notes[name] = str(error)
        except ConfigurationError as error:
            mistakes.append(ConfigIssue(("providers", name), str(error)))
    if mistakes:
        raise config.document.configuration_error(mistakes)
    return notes


def _providers(config: Config, lacks: dict[str, str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("provider", no_wrap=True)
    for column in ("class", "model", "languages", ""):
        table.add_column(column)
    for name, spec in config.providers.items():
        notes = [lacks[name]] if name in lacks else []
        if name not in config.used:
            notes.append("not used by any route")
        cells = (name, spec.factory.title, spec.shown_model, _languages(spec))
        table.add_row(*map(Text, cells), Text("; ".join(notes), style="yellow"))
    return table


def _languages(spec: ProviderSpec) -> str:
    known = spec.languages.languages
    if spec.skip_language_check or known is None:
        return "unchecked"
    told = ", ".join(sorted(known)) if len(known) <= _LANGUAGES else f"{len(known)} languages"
    return f"detects {told}" if spec.languages.language_detection else told


def _routes(config: Config) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("language", no_wrap=True)
    table.add_column("providers, in order")
    for tag, chain in config.routes.items():
        table.add_row(Text(_TITLES.get(tag, tag)), Text(" > ".join(chain)))
    return table
