"""`resilient-stt transcribe FILE`: sends an audio file through the real providers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from livekit.agents import NOT_GIVEN, APIConnectionError, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import NotGivenOr
from livekit.agents.utils import aio, http_context, is_given
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.events import AudioLost, Decision
from ..errors import StreamClosedError
from ..providers.traits import traits_of
from ..stt import ResilientSTT
from .audio_file import AudioFile, open_audio_file
from .chosen_providers import ConfigOption, LanguageOption, chosen
from .command_error import CommandError
from .env_files import read_env_files
from .html_page import HtmlOption, recorded_to
from .narrate import EVENT_NAMES, Narrator
from .standard_streams import stoppable
from .terminal import log_records_to, print_transcript


def transcribe(
    file: Annotated[
        Path, typer.Argument(help="An audio file of any format, sample rate and channel count.")
    ],
    language: LanguageOption = None,
    pace: Annotated[
        float,
        typer.Option(
            min=0.1, help="Speed of sending: 1 is real time; providers take little more than that."
        ),
    ] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the final transcripts as JSON, with word times.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log records.")] = False,
    config: ConfigOption = None,
    cartesia_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Base URL instead of Cartesia's own.")
    ] = None,
    deepgram_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Base URL instead of Deepgram's own.")
    ] = None,
    html: HtmlOption = None,
) -> None:
    """Transcribe an audio file with Cartesia, and with Deepgram when Cartesia fails.

    The API keys come from CARTESIA_API_KEY and DEEPGRAM_API_KEY: in the environment, or in
    .env.local or .env in the working directory. With one key, one provider is used; without any,
    the recognizer of the extra `local`, which runs in this process. With a configuration, its
    providers, routes and policies are used; `resilient-stt check` explains it.

    The exit status is 1 if speech was lost or an outage of all providers lasted too long.
    """
    read_env_files()
    console = Console(stderr=True, highlight=False)
    urls = {"cartesia": cartesia_url, "deepgram": deepgram_url}
    with (
        log_records_to(console, verbose=verbose),
        open_audio_file(file) as audio,
        recorded_to(html) as record,
    ):
        printer = TranscriptPrinter(console, audio, as_json=as_json)
        make = chosen(config, language, console, urls=urls, record=record)
        asyncio.run(stoppable(_transcribe(make, printer, language=language, pace=pace)))
    if audio.damaged:
        packets = "1 damaged packet" if audio.damaged == 1 else f"{audio.damaged} damaged packets"
        console.print(f"{packets} of {file} skipped", style="yellow")
    if printer.lost:
        raise CommandError("some speech was lost; see above", status=1)


async def _transcribe(
    make: Callable[[], ResilientSTT],
    printer: TranscriptPrinter,
    *,
    language: str | None,
    pace: float,
) -> None:
    target = make()  # here, because the plugins of some providers need a running event loop
    _check_pace(pace, target)
    try:
        await printer.transcribe(target, language=language, pace=pace)
    finally:
        printer.close()


def _check_pace(pace: float, target: ResilientSTT) -> None:
    limit = min(traits_of("", provider).pace.rate for provider in target.providers)
    if pace > limit:
        raise CommandError(f"--pace {pace:g} is faster than the providers take; at most {limit:g}")


class TranscriptPrinter:
    """Transcribes a file: prints final transcripts on stdout, progress and events on stderr.

    Call `close` afterwards, also if the transcription failed: it prints the JSON list.

    Attributes:
        lost: Whether speech was lost so far.
    """

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

    async def transcribe(self, target: ResilientSTT, *, language: str | None, pace: float) -> None:
        """Stream the audio at `pace` times real time and print the transcripts.

        Raises:
            CommandError: No provider worked for longer than the policies allow.
        """
        for name in EVENT_NAMES:
            target.on(name, self._print_event)
        with self._progress:
            async with (
                http_context.open(),
                target,
                target.stream(language=language or NOT_GIVEN) as stream,
            ):
                pushing = asyncio.create_task(self._push_audio(stream, pace))
                try:
                    async for event in stream:
                        self._take_transcript(event)
                    await pushing  # raises if the file could not be read to its end
                except APIConnectionError as error:
                    raise CommandError(f"gave up: {error.message}", status=1) from None
                finally:
                    await aio.cancel_and_wait(pushing)

    def close(self) -> None:
        """Print the final transcripts so far as JSON, if JSON was asked for."""
        if self._as_json:
            typer.echo(json.dumps(self._finals, ensure_ascii=False))

    async def _push_audio(self, stream: stt.RecognizeStream, pace: float) -> None:
        loop = asyncio.get_running_loop()
        begun, position = loop.time(), 0.0
        try:
            for frame in self._audio.frames():
                position += frame.duration
                await asyncio.sleep(begun + position / pace - loop.time())
                stream.push_frame(frame)
                self._progress.update(self._task, completed=position)
        except StreamClosedError:
            pass  # the stream has failed; iterating over it raises the reason
        finally:
            with contextlib.suppress(StreamClosedError):
                stream.end_input()

    def _take_transcript(self, event: stt.SpeechEvent) -> None:
        if event.type is not SpeechEventType.FINAL_TRANSCRIPT or not event.alternatives:
            return
        data = event.alternatives[0]
        text = data.text.strip()
        if not text:
            return
        self._finals.append(_as_object(text, data))
        if not self._as_json:
            print_transcript(self._progress.console, text)

    def _print_event(self, event: Decision) -> None:
        self.lost = self.lost or isinstance(event, AudioLost)
        for line in self._narrator.lines(event):
            self._progress.console.print(line, soft_wrap=True)


def _as_object(text: str, data: stt.SpeechData) -> dict[str, Any]:
    """Return a final for `--json`; times are seconds, null where the provider gives none."""
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


def _rounded(seconds: NotGivenOr[float]) -> float | None:
    return round(seconds, 3) if is_given(seconds) else None
