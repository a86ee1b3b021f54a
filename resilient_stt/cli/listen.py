"""`resilient-stt listen`: transcribes what the microphone hears."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Annotated

import typer
from livekit import rtc
from livekit.agents import NOT_GIVEN, APIConnectionError, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..core.events import Decision
from ..errors import StreamClosedError
from ..stt import ResilientSTT
from .chosen_providers import ConfigOption, LanguageOption, chosen
from .command_error import CommandError
from .env_files import read_env_files
from .microphone import microphone
from .narrate import EVENT_NAMES, Narrator
from .standard_streams import stoppable
from .terminal import log_records_to, print_transcript


def listen(
    language: LanguageOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log records.")] = False,
    config: ConfigOption = None,
) -> None:
    """Transcribe what the microphone hears, until Ctrl-C.

    The providers are those of `transcribe`: Cartesia and Deepgram, if their keys are set; without
    any key, the recognizer of the extra `local`; or those of a configuration. Final transcripts are
    printed on stdout.
    """
    read_env_files()
    console = Console(stderr=True, highlight=False)
    make = chosen(config, language, console, urls={})
    with log_records_to(console, verbose=verbose):
        asyncio.run(stoppable(_listen(make, language, console)))


async def _listen(make: Callable[[], ResilientSTT], language: str | None, console: Console) -> None:
    """Transcribe until cancelled.

    Raises:
        CommandError: There is no microphone, or no provider worked for longer than the policies
            allow.
    """
    target = make()  # here, because the plugins of some providers need a running event loop
    printer = _Printer(console)
    for name in EVENT_NAMES:
        target.on(name, printer.tell)
    async with (
        http_context.open(),
        target,
        target.stream(language=language or NOT_GIVEN) as stream,
    ):

        def push(frame: rtc.AudioFrame) -> None:
            with contextlib.suppress(StreamClosedError):  # iterating raises the reason
                stream.push_frame(frame)

        with microphone(push) as name, printer:
            console.print(f"listening to {name}; Ctrl-C ends", soft_wrap=True, markup=False)
            try:
                async for event in stream:
                    printer.take(event)
            except APIConnectionError as error:
                raise CommandError(f"gave up: {error.message}", status=1) from None


class _Printer:
    """Prints finals on stdout, and on a terminal the interim transcript below them."""

    def __init__(self, console: Console) -> None:
        self._narrator = Narrator()
        self._live = Live(console=console, transient=True, redirect_stdout=False)

    def __enter__(self) -> None:
        if self._live.console.is_terminal:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def take(self, event: stt.SpeechEvent) -> None:
        """Print what an event of the stream says, if it is a transcript."""
        if not event.alternatives:
            return
        text = event.alternatives[0].text.strip()
        match event.type:
            case SpeechEventType.INTERIM_TRANSCRIPT:
                self._live.update(Text(text, style="dim"))
            case SpeechEventType.FINAL_TRANSCRIPT if text:
                self._live.update(Text(""))
                print_transcript(self._live.console, text)

    def tell(self, event: Decision) -> None:
        """Print what was decided."""
        for line in self._narrator.lines(event):
            self._live.console.print(line, soft_wrap=True)
