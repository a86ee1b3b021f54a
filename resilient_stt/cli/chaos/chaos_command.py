"""`resilient-stt chaos`: tries every fault, at every place and many moments, in virtual time."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from ...config import VARIABLE
from ...testing.fakes.registry import FAKES
from ...testing.harness.trial import WHISPER, AnyChain, accents_of
from ..command_error import CommandError
from ..env_files import read_env_files
from ..fake_names import named_chain
from ..terminal import print_table, table_console
from . import results
from .configured_chain import configured_chain, recording_in
from .fault_kinds import fault_kinds_named
from .fault_rows import make_rows
from .progress_bar import run_with_progress
from .results import RowResult
from .row_runner import run_row
from .run_options import AsJson, Jobs, Moments, OnlyFaults

_WIDTH = 140  # columns of the table where stdout is not a terminal


def chaos(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help="A YAML or TOML file; the chain of its route is tried. By default the one that "
            f"{VARIABLE} names, or else Cartesia, then Deepgram.",
            show_default=False,
        ),
    ] = None,
    primary: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Try this provider as the primary one, instead of a configuration. One of "
            f"{', '.join(FAKES)}.",
            show_default=False,
        ),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Try this provider as the fallback, instead of a configuration.",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(help="The language spoken, and the route that is tried: en, es or zh.")
    ] = "en",
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="NAME",
            help="Leave this provider of the configuration out, such as one that has no fake; may "
            "be repeated.",
        ),
    ] = None,
    only: OnlyFaults = None,
    moments: Moments = 4,
    jobs: Jobs = None,
    accents: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            min=0,
            help="Let each provider write words in its own way, drawn from this seed; by default "
            "all write what was spoken.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try every fault on the primary provider, on the fallback and on both, at many moments.

    The providers are those that you name, or those of the language's route in the configuration, or
    Cartesia ink-whisper and Deepgram nova-3. LiveKit's published plugins connect to fake providers
    on this machine, in virtual time; in real time with Azure or Google, whose SDKs have threads.
    No API keys are needed; other variables of a configuration come from the environment, .env.local
    and .env.

    The exit status is 1 if a promise was broken: a word was lost or repeated, is a fragment, is out
    of order or has a wrong time; a word came over 6 s later than usual while one provider was
    healthy; a healthy provider was left; start and end of speech do not alternate; a stream did not
    end.
    """
    begun = time.monotonic()
    read_env_files()
    recording = recording_in(language)
    chain: AnyChain
    if primary or fallback:
        if config or without or language != "en":
            raise CommandError(
                "--primary and --fallback name all there is to try, in English; leave out CONFIG, "
                "--without and --language, or name the providers in a configuration"
            )
        chain = named_chain(primary, fallback)
    else:
        source = config or os.environ.get(VARIABLE)  # read here, as .env may set it
        default = source is None and language == "en" and not without
        chain = WHISPER if default else configured_chain(source, language, without or ())
    rows = make_rows(fault_kinds_named(only or []), moments, recording)
    drawn = () if accents is None else accents_of(chain, accents)
    run = functools.partial(run_row, chain=chain, recording=recording, accents=drawn)
    processes = jobs or os.cpu_count() or 1
    outcomes = run_with_progress(rows, processes, run, size=lambda row: len(row.cases))
    found = results.judge(rows, outcomes)
    if as_json:
        typer.echo(json.dumps(results.as_json(found, moments=moments)))
    else:
        _print(found, time.monotonic() - begun)
    if any(result.broken for result in found):
        raise typer.Exit(1)


def _print(found: Sequence[RowResult], seconds: float) -> None:
    console = table_console(_WIDTH)
    print_table(console, results.result_table(found, console.width))
    runs = sum(len(result.outcomes) for result in found)
    broken = sum(len(result.broken) for result in found)
    for result in found:
        for case, outcome in result.broken:
            row = f"{result.row.fault} {result.row.where}".strip()
            line = f"{row}: {results.describe_broken(case, outcome)}"
            console.print(line, soft_wrap=True, markup=False)
    verdict = f"{broken} broke a promise" if broken else "every promise was kept"
    console.print(f"{runs} runs in {seconds:.0f} s: {verdict}")
