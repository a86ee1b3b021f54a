"""`resilient-stt transcribe FILE`: a real file through the configured providers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from livekit.agents import NOT_GIVEN, APIConnectionError, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import NotGivenOr
from livekit.agents.utils import aio, http_context, is_given
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.events import AudioLost, Event
from ..errors import StreamClosedError
from ..providers.defaults import DEFAULTS, from_environment
from ..providers.traits import traits_of
from ..stt import ResilientSTT
from .audio import AudioFile, opened
from .demo.run import EVENTS
from .environment import read_env_files
from .logs import routed
from .narrate import Narrator
from .problems import Problem


def transcribe(
    file: Annotated[Path, typer.Argument(help="Audio of any format, rate and channels.")],
    language: Annotated[str | None, typer.Option(help="A BCP 47 tag such as es.")] = None,
    pace: Annotated[
        float, typer.Option(min=0.1, help="Times real time; at most what the providers take.")
    ] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of finals with their times.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log records.")] = False,
    cartesia_url: Annotated[
        str | None, typer.Option(hidden=True, help="Base URL instead of Cartesia's own.")
    ] = None,
    deepgram_url: Annotated[
        str | None, typer.Option(hidden=True, help="Base URL instead of Deepgram's own.")
    ] = None,
) -> None:
    """Transcribe an audio file with Cartesia and, when that fails, Deepgram.

    Keys come from CARTESIA_API_KEY and DEEPGRAM_API_KEY, in the environment or in .env.local or
    .env in the working directory. Exit status 1 if no provider could be reached for too long.
    """
    read_env_files()
    console = Console(stderr=True, highlight=False)
    with routed(console, verbose=verbose), opened(file) as audio:
        providers = from_environment({"cartesia": cartesia_url, "deepgram": deepgram_url})
        for default in DEFAULTS:
            if not os.environ.get(default.variable):
                console.print(f"{default.name} is left out: {default.variable} is not set")
        _check_pace(pace, providers)
        transcript = TranscriptPrinter(console, audio, as_json=as_json)
        try:
            asyncio.run(transcript.make(ResilientSTT(providers), language=language, pace=pace))
        finally:
            transcript.close()
    if audio.damaged:
        console.print(f"{audio.damaged} pieces of {file} could not be decoded", style="yellow")
    if transcript.lost:
        raise Problem("some speech was lost, see above", status=1)


def _check_pace(pace: float, providers: list[stt.STT[Any]]) -> None:
    limit = min(traits_of("", provider).pace.rate for provider in providers)
    if pace > limit:
        raise Problem(f"--pace {pace:g} is more than the providers take: {limit:g} at most")


class TranscriptPrinter:
    """A transcript in the making: on stdout as it is finalised, progress on stderr."""

    def __init__(self, console: Console, audio: AudioFile, *, as_json: bool) -> None:
        self.lost = False
        self._audio = audio
        self._as_json = as_json
        self._finals: list[dict[str, Any]] = []
        self._narrator = Narrator()
        self._progress = Progress(
            TextColumn("{task.completed:.0f} s"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %" if audio.duration else ""),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=False,
        )
        self._task = self._progress.add_task("", total=audio.duration)

    async def make(self, target: ResilientSTT, *, language: str | None, pace: float) -> None:
        """Stream the audio and take what comes.

        Raises:
            Problem: No provider worked for as long as the policies endure it.
        """
        for name in EVENTS:
            target.on(name, self._happened)
        given = language or NOT_GIVEN
        with self._progress:
            async with http_context.open(), target, target.stream(language=given) as stream:
                pushing = asyncio.create_task(self._push(stream, pace))
                try:
                    async for event in stream:
                        self._take(event)
                    await pushing  # it may have failed at the file
                except APIConnectionError as error:
                    raise Problem(f"gave up: {error.message}", status=1) from None
                finally:
                    await aio.cancel_and_wait(pushing)

    def close(self) -> None:
        """Print what is printed in the end, also of a transcript that broke off."""
        if self._as_json:
            typer.echo(json.dumps(self._finals, ensure_ascii=False))

    async def _push(self, stream: stt.RecognizeStream, pace: float) -> None:
        loop = asyncio.get_running_loop()
        begun, position = loop.time(), 0.0
        try:
            for frame in self._audio.frames():
                position += frame.duration
                await asyncio.sleep(begun + position / pace - loop.time())
                stream.push_frame(frame)
                self._progress.update(self._task, completed=position)
        except StreamClosedError:
            pass  # it says itself why it has ended
        finally:
            with contextlib.suppress(StreamClosedError):
                stream.end_input()

    def _take(self, event: stt.SpeechEvent) -> None:
        if event.type is not SpeechEventType.FINAL_TRANSCRIPT or not event.alternatives:
            return
        data = event.alternatives[0]
        text = data.text.strip()
        if not text:
            return
        self._finals.append(_as_object(text, data))
        if not self._as_json:
            self._print(text)

    def _print(self, text: str) -> None:
        if sys.stdout.isatty() and self._progress.console.is_terminal:
            # one terminal for both: the text goes above the bar, not into it
            self._progress.console.print(text, soft_wrap=True, markup=False)
        else:
            typer.echo(text)
            sys.stdout.flush()

    def _happened(self, event: Event) -> None:
        self.lost = self.lost or isinstance(event, AudioLost)
        for line in self._narrator.tell(event):
            self._progress.console.print(line, soft_wrap=True)


def _as_object(text: str, data: stt.SpeechData) -> dict[str, Any]:
    """A final with its times in seconds, null where the provider gives none."""
    timed = bool(data.end_time)
    words = [
        {"word": str(word), "start": _rounded(word.start_time), "end": _rounded(word.end_time)}
        for word in data.words or ()
    ]
    return {
        "text": text,
        "start": _rounded(data.start_time) if timed else None,
        "end": _rounded(data.end_time) if timed else None,
        "words": words,
    }


def _rounded(value: NotGivenOr[float]) -> float | None:
    return round(value, 3) if is_given(value) else None
