"""`resilient-stt check`: validates a configuration and shows what it means."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, fields
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..config import VARIABLE, Config, ProviderSpec, load
from ..config.issues import ConfigIssue
from ..core.policy import Policies
from ..core.routing.language import DEFAULT, DETECT
from ..errors import ConfigurationError, NoKey
from ..fleet import MemoryHealth
from ..phrasing import similar
from ..providers.traits import model_of
from .command_error import CommandError
from .env_files import read_env_files
from .terminal import print_table, table_console

_WIDTH = 120  # columns of the tables where stdout is not a terminal
_MOST_LANGUAGES = 5  # of a model with more, only their number is shown
_ROUTE_TITLES = {DEFAULT: "default (any other language)", DETECT: "detect (language not known yet)"}


@dataclass(slots=True)
class _Finding:
    """What making a provider showed: its model, and what keeps it from working."""

    model: str
    notes: list[str] = field(default_factory=list)
    fails_strict: list[str] = field(default_factory=list)
    """Notes with which `--strict` fails, if the provider is used."""


def check(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help=f"A YAML or TOML file; by default the one that {VARIABLE} names.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Fail if a key is missing, or a model looks like a typing error."
        ),
    ] = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Ask every provider that a route names to transcribe two seconds of speech.",
        ),
    ] = False,
    fake: Annotated[
        bool,
        typer.Option("--fake", help="With --live: ask fake providers on this machine instead."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --live: print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Validate a configuration; show its providers, routes, policies and health store.

    Needs no API keys and no network. A missing key is shown but is not a mistake, because it may
    be set where the agent runs; with --strict it is one. A model that is not known but looks like
    one that is, is shown, too. Variables come from the environment, .env.local and .env.

    With --live, each provider gets two seconds of speech, in each of its languages, with its key.
    The table shows what came of it: seconds until it was connected, from the first of the speech to
    the first word, and from the end of the speech to the last final. The exit status is 1 if a
    route has no provider that works.

    If the configuration has mistakes, all of them are listed and the exit status is 2.
    """
    if (fake or as_json) and not live:
        raise CommandError("--fake and --json need --live")
    read_env_files()
    loaded = load(config)
    findings = asyncio.run(_create_providers(loaded))
    if live:
        _fail_if_strict(loaded, findings, strict=strict)
        from .live_check.live_report import check_live  # with the kit, which takes half a second

        models = {name: found.model for name, found in findings.items()}
        check_live(loaded, models, fake=fake, as_json=as_json)
        return
    console = table_console(_WIDTH)
    print_table(console, _provider_table(loaded, findings))
    print_table(console, _route_table(loaded))
    _print_settings(console, loaded)
    _fail_if_strict(loaded, findings, strict=strict)
    console.print(Text(f"{loaded.name}: no mistakes found"), soft_wrap=True)


def _fail_if_strict(config: Config, findings: dict[str, _Finding], *, strict: bool) -> None:
    wrong = [
        f"{name}: {note}" for name in config.used for note in findings[name].fails_strict if strict
    ]
    if wrong:
        listed = "\n".join(["--strict:", *wrong]) if len(wrong) > 1 else f"--strict: {wrong[0]}"
        raise CommandError(f"{config.name}: {listed}")


async def _create_providers(config: Config) -> dict[str, _Finding]:
    """Create every provider and return, by name, what that showed.

    Some options are validated only by the plugin that takes them. The plugins need a running event
    loop, as in an agent.

    Raises:
        ConfigurationError: Plugins reject their options. It lists all of them.
    """
    findings: dict[str, _Finding] = {}
    mistakes: list[ConfigIssue] = []
    for name, spec in config.providers.items():
        findings[name] = found = _Finding(_model(spec))
        if note := _misspelled_model(spec):
            found.notes.append(note)
            found.fails_strict.append(note)
        try:
            made = config.make(name)
        except NoKey as error:
            found.notes.append(str(error))
            found.fails_strict.append(str(error))
        except ConfigurationError as error:
            mistakes.append(ConfigIssue(("providers", name), str(error)))
        else:
            found.model = found.model or made.model
            if not made.capabilities.streaming:
                found.notes.append("cannot stream: pass a vad to from_config()")
    if mistakes:
        raise config.document.configuration_error(mistakes)
    return findings


def _model(spec: ProviderSpec) -> str:
    """The model; of one that came from a variable its value, too, if it is a model's for certain.

    Anything may stand in a variable, also a key that was put into the wrong one.
    """
    if spec.shown_model != spec.model and _is_known(spec):
        return f"{spec.model} ({spec.shown_model})"
    return spec.shown_model


def _is_known(spec: ProviderSpec) -> bool:
    known = model_of(spec.factory.plugin, spec.factory.kind, spec.model)
    return bool(known and known.family) or spec.model in spec.known_models


def _misspelled_model(spec: ProviderSpec) -> str:
    """A note if no model of this name is known, but one like it; empty for new models."""
    if not spec.model or _is_known(spec) or spec.skip_language_check:
        return ""
    meant = similar(spec.model, spec.known_models)
    return f"unknown model; did you mean {meant!r}?" if meant else ""


def _provider_table(config: Config, findings: dict[str, _Finding]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("provider", no_wrap=True)
    for column in ("class", "model", "languages", "notes"):
        table.add_column(column, overflow="fold")
    for name, spec in config.providers.items():
        notes = list(findings[name].notes)
        if name not in config.used:
            notes.append("not used by any route")
        cells = (name, spec.factory.title, findings[name].model, _languages(spec))
        table.add_row(*map(Text, cells), Text("; ".join(notes), style="yellow"))
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


def _print_settings(console: Console, config: Config) -> None:
    """Print where health is kept, and the policies that differ from their defaults."""
    memory = isinstance(config.store, MemoryHealth)
    where = "memory, within the process" if memory else repr(config.store)
    console.print(Text(f"health store: {where}"), soft_wrap=True)
    if config.recording is not None:
        words = "with words" if config.recording.text else "without words"
        console.print(Text(f"recordings: {config.recording.folder}, {words}"), soft_wrap=True)
    if config.retranscribe:
        console.print(Text("retranscribe: true"), soft_wrap=True)
    changed = list(_changed(config.policies))
    for line in changed:
        console.print(Text(f"policy: {line}"), soft_wrap=True)
    others = "all others" if changed else "all"
    console.print(Text(f"policies: {others} have their default values\n"), soft_wrap=True)


def _changed(policies: Policies) -> list[str]:
    defaults = Policies()
    return [
        f"{section.name}.{item.name} = {value} (default {usual})"
        for section in fields(Policies)
        for item in fields(getattr(defaults, section.name))
        if (value := getattr(getattr(policies, section.name), item.name))
        != (usual := getattr(getattr(defaults, section.name), item.name))
    ]
