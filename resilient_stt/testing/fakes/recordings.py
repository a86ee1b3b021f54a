"""Recordings that are posted to a fake provider: the form they come in, and their words."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from aiohttp import BodyPartReader, web

from ..faults import Latency
from ..speech.recognizer import HeardWord
from .server import Rejection

if TYPE_CHECKING:
    from .dialogue import ServerConnection
    from .server import FakeServer


@dataclass(frozen=True)
class PostedForm:
    """A multipart form with one recording.

    Attributes:
        audio: The file, as it was posted.
        fields: The other fields.
    """

    audio: bytes
    fields: Mapping[str, str]


async def posted_form(request: web.Request) -> PostedForm:
    """Read a multipart form whose file is the recording.

    Raises:
        Rejection: It is no multipart form, or has no file.
    """
    audio, fields = b"", {}
    if request.content_type != "multipart/form-data":
        raise Rejection(400, "The body is not a multipart form.")
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        assert isinstance(part, BodyPartReader)
        content = bytes(await part.read(decode=True))
        if part.filename:
            audio = content
        else:
            fields[part.name or ""] = content.decode()
    if not audio:
        raise Rejection(400, "The form has no file.")
    return PostedForm(audio, fields)


def samples_of(
    recording: bytes, refusal: str = "The file could not be decoded."
) -> tuple[bytes, int]:
    """The first channel of a WAV file of 16-bit samples, and its rate in Hz.

    Raises:
        Rejection: It is another kind of file, with `refusal` as its message.
    """
    try:
        with wave.open(io.BytesIO(recording)) as file:
            if file.getsampwidth() != 2:
                raise Rejection(400, refusal)
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return samples.reshape(-1, file.getnchannels())[:, 0].tobytes(), file.getframerate()
    except (wave.Error, EOFError, ValueError):
        raise Rejection(400, refusal) from None


def words_in(
    server: FakeServer, pcm: bytes, sample_rate: int, languages: Sequence[str] | None
) -> list[HeardWord]:
    """The words of 16-bit mono samples. Languages None: all that the recognizer knows."""
    recognizer = server.new_recognizer(sample_rate, languages)
    return recognizer.feed(pcm) + recognizer.finish()


async def take_time(server: FakeServer, connection: ServerConnection) -> None:
    """Wait as long as the server and its faults take for a recording."""
    late = [
        fault
        for fault in server.faults.of(Latency, connection.index)
        if fault.in_period(server.now) and not fault.by_audio
    ]
    for fault in late:
        server.note_triggered(fault, connection)
    await asyncio.sleep(server.latency + sum(fault.seconds for fault in late))


async def recognized(
    server: FakeServer,
    connection: ServerConnection,
    form: PostedForm,
    languages: Sequence[str] | None,
) -> list[HeardWord]:
    """The words of a posted WAV file, after the time that the server takes for it."""
    pcm, sample_rate = samples_of(form.audio)
    connection.audio = len(pcm) / 2 / sample_rate
    words = words_in(server, pcm, sample_rate, languages)
    await take_time(server, connection)
    connection.end("answered with 200")
    return server.written(words)
