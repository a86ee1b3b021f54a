"""Pages in Chromium, driven by Playwright; skipped where there is neither."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from resilient_stt.recording.document import RecordingDocument
from resilient_stt.recording.flight_recorder import dumped
from resilient_stt.recording.page import render
from resilient_stt.testing import Drop, FakeCartesia, FakeDeepgram, Fault, ReferenceSpeech, Refuse
from resilient_stt.testing import from_ as after
from resilient_stt.testing.harness.clock import run_virtual

from .calls import recorded_call

REQUIRED = "CI_REQUIRES_CHROMIUM"
"""Set by `nox -s page`: then a missing browser is an error."""


def chromium() -> str:
    """The path of a Chromium of this machine; skips the test if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        reason = "no Chromium; apt-get install chromium"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)
    assert found is not None
    return found


@dataclass
class Problems:
    """What a page must not do."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@dataclass
class Browser:
    """A running Chromium."""

    chromium: Any

    @contextmanager
    def showing(self, path: Path, *, dark: bool = False, width: int = 1380) -> Iterator[Any]:
        """Open a page; it must log nothing to the console, and ask for no other file."""
        problems = Problems()
        scheme = "dark" if dark else "light"
        page = self.chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: problems.console.append(message.text))
        page.on("pageerror", lambda error: problems.console.append(str(error)))
        page.on("request", lambda request: problems.requests.append(request.url))
        page.goto(path.as_uri())
        yield page
        page.close()
        assert problems.console == []
        assert {*problems.requests} == {path.as_uri()}


@contextmanager
def running() -> Iterator[Browser]:
    """Run Chromium."""
    try:
        playwright_api: Any = import_module("playwright.sync_api")  # not in the lock
    except ImportError:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip("no Playwright; pip install playwright")
    path = chromium()
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Browser(browser)
        browser.close()


def page_of(folder: Path, *, faulty: bool, text: bool = True) -> tuple[Path, RecordingDocument]:
    """Record a call, in which Cartesia fails if it is `faulty`; return its page and document."""
    speech = ReferenceSpeech.load("english").excerpt(0, 2).padded(1.0)
    drop = Drop(at_word=16, part=0.5, connections={0})
    faults: list[Fault] = [drop, Refuse(connections=after(1))] if faulty else []

    async def call() -> str:
        async with (
            aiohttp.ClientSession() as http,
            FakeCartesia(faults=faults) as cartesia,
            FakeDeepgram() as deepgram,
        ):
            providers = [cartesia.stt(http_session=http), deepgram.stt(http_session=http)]
            return (await recorded_call(providers, folder, speech, text=text)).json_text

    document: RecordingDocument = json.loads(run_virtual(call()))
    (page,) = folder.glob("*.html")
    return page, document


def long_page(folder: Path, document: RecordingDocument, seconds: float) -> Path:
    """Write the page of a call of at least that length: the document again and again."""
    length = document["end"]
    times = int(seconds / length) + 1
    whole: Any = json.loads(json.dumps(document))
    parts = [_shifted(document, number * length, number) for number in range(times)]
    for name in ("connections", "finals", "marks", "held", "speech"):
        whole[name] = [item for part in parts for item in part[name]]
    whole["loudness"]["dbfs"] = document["loudness"]["dbfs"] * times
    whole["end"] = whole["input_ended"] = times * length
    path = folder / "long.html"
    path.write_text(render(dumped(whole), whole), encoding="utf-8")
    return path


_TIMES = {"at", "start", "end", "opened", "established", "closed"}


def _shifted(value: Any, by: float, number: int, key: str = "") -> Any:
    """A part of a document, that much later."""
    if isinstance(value, dict):
        return {name: _shifted(inner, by, number, name) for name, inner in value.items()}
    if isinstance(value, list) and key in ("held", "speech", "replayed", "texts"):
        spans = 2 if key in ("speech", "replayed") else 1
        return [
            [round(at + by, 3) if index < spans else at for index, at in enumerate(item)]
            for item in value
        ]
    if isinstance(value, list):
        return [_shifted(item, by, number, key) for item in value]
    if key in ("id", "connection") and isinstance(value, int):
        return value + 1000 * number
    return round(value + by, 3) if key in _TIMES and isinstance(value, float | int) else value
