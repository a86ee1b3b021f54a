"""Calls that are recorded: the real plugins against fake servers, in virtual time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
from livekit.agents import stt

from resilient_stt import ResilientSTT
from resilient_stt.core.events import StreamEnded
from resilient_stt.fleet import MemoryHealth
from resilient_stt.recording.document import RecordingDocument, schema
from resilient_stt.recording.recording_options import RecordingOptions
from resilient_stt.testing.harness.play import Played, play
from resilient_stt.testing.speech.reference import ReferenceSpeech


@dataclass
class RecordedCall:
    """A call, its events, and what was written of it."""

    played: Played
    events: list[StreamEnded]
    json_text: str
    page: str

    @property
    def document(self) -> RecordingDocument:
        """The JSON document; it fits its schema."""
        document: RecordingDocument = json.loads(self.json_text)
        jsonschema.validate(document, schema())
        return document

    @property
    def ended(self) -> StreamEnded:
        """The accounts, as the event tells them."""
        (event,) = self.events
        return event


async def recorded_call(
    providers: list[stt.STT[Any]],
    folder: Path,
    speech: ReferenceSpeech,
    *,
    text: bool = True,
    **options: Any,
) -> RecordedCall:
    """Play speech to providers, and return what the flight recorder wrote."""
    record = RecordingOptions(folder, text=text)
    events: list[StreamEnded] = []
    async with ResilientSTT(
        providers, health=MemoryHealth(isolated=True), record=record, **options
    ) as target:
        target.on("stream_ended", events.append)
        played = await play(target, speech, patience=90)
    return RecordedCall(played, events, *_files(folder))


def _files(folder: Path) -> tuple[str, str]:
    """The document and the page of the only recording of a folder."""
    assert not list(folder.glob("*.jsonl")), "the lines of an ended stream are removed"
    (json_path,), (page,) = folder.glob("*.json"), folder.glob("*.html")
    return json_path.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
