"""The providers of `transcribe` and `listen`: those of a configuration, or those that need none."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Annotated

import typer
from livekit.agents import NOT_GIVEN
from rich.console import Console

from .. import local
from ..config import VARIABLE, load
from ..errors import ConfigurationError
from ..providers.defaults import DEFAULT_CONFIG, DEFAULTS, from_environment, plugin_of
from ..recording.recording_options import RecordingOptions
from ..setup import Setup
from ..stt import ResilientSTT
from .command_error import CommandError

LanguageOption = Annotated[
    str | None, typer.Option(help="The language spoken, as a BCP 47 tag such as es.")
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        metavar="CONFIG",
        help="A YAML or TOML file with the providers, instead of Cartesia, then Deepgram. By "
        f"default the one that {VARIABLE} names.",
        show_default=False,
    ),
]


def chosen(
    config: str | None,
    language: str | None,
    console: Console,
    *,
    urls: Mapping[str, str | None],
    record: RecordingOptions | None = None,
) -> Callable[[], ResilientSTT]:
    """Return what makes the providers: `configured` if there is a configuration, or `by_default`.

    Call it where an event loop runs: the plugins of some providers need one. `.env` must have been
    read, for it may name the configuration.
    """
    if source := config or os.environ.get(VARIABLE):
        return functools.partial(configured, source, language, urls, record)
    return functools.partial(by_default, language, urls, record, console)


def configured(
    source: str,
    language: str | None,
    urls: Mapping[str, str | None],
    record: RecordingOptions | None,
) -> ResilientSTT:
    """Make what a configuration describes, with other addresses for the providers of a plugin.

    Raises:
        ConfigurationError: It has mistakes, or keys are missing, or `language` is not a language
            tag or one that a model of its route does not support.
    """
    config = load(source)
    addresses = {
        name: {"base_url": url}
        for name, spec in config.providers.items()
        if (url := urls.get(spec.factory.plugin))
    }
    if language is not None and (issues := config.language_issues(language)):
        raise config.document.configuration_error(issues)
    return ResilientSTT(Setup.from_config(config.with_options(addresses)), record=record)


def by_default(
    language: str | None,
    urls: Mapping[str, str | None],
    record: RecordingOptions | None,
    console: Console,
) -> ResilientSTT:
    """Make Cartesia, then Deepgram: those that have a key and whose model supports the language.

    Without any key, the local provider is made, if its extra is installed.

    Raises:
        CommandError: There is no key, and no local recognizer; or `language` is not a language tag,
            or no model is known to support it.
    """
    if not any(os.environ.get(default.variable) for default in DEFAULTS):
        return _without_keys(language, record, console)
    providers = from_environment(urls)
    for default in DEFAULTS:
        if not os.environ.get(default.variable):
            console.print(f"{default.name} is not used: {default.variable} is not set")
    if language is None:
        return ResilientSTT(providers, record=record)
    unfit: dict[str, str] = {}
    for issue in load(DEFAULT_CONFIG).language_issues(language):
        if not issue.place:
            raise CommandError(f"--language: {issue.message}")
        unfit[str(issue.place[-1])] = issue.message.partition(";")[0]
    fit = [p for p in providers if plugin_of(p) not in unfit]
    unused = [unfit[name] for p in providers if (name := plugin_of(p)) in unfit]
    if not fit:
        raise CommandError(f"--language: {'; '.join(unused)}")
    for why in unused:
        console.print(f"not used: {why}", soft_wrap=True)
    return ResilientSTT(fit, record=record)


def _without_keys(
    language: str | None, record: RecordingOptions | None, console: Console
) -> ResilientSTT:
    """Make the local provider alone, and say so.

    Raises:
        CommandError: It is not installed, or its model is missing, or does not know the language.
    """
    variables = " and ".join(default.variable for default in DEFAULTS)
    try:
        recognizer = local.STT()
        recognizer.check_language(language or NOT_GIVEN)
    except ConfigurationError as error:
        raise CommandError(
            f"no speech-to-text provider can be used: set {variables} in the environment or in "
            f".env (one is enough), or use the recognizer that needs no key: {error}"
        ) from None
    except ValueError as error:
        raise CommandError(f"--language: {error}; {variables} are not set") from None
    console.print(f"no key is set: {recognizer.model} transcribes, in this process", soft_wrap=True)
    recognizer.prewarm()
    return ResilientSTT([recognizer], record=record)
