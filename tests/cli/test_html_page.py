"""`--html FILE`, and `page FILE`: pages from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from resilient_stt.recording.document import schema

Cli = Callable[..., Any]


def document_in(page: Path) -> dict[str, Any]:
    """The document that a page shows."""
    text = page.read_text(encoding="utf-8")
    begin = text.index('id="recording">') + len('id="recording">')
    found: dict[str, Any] = json.loads(text[begin : text.index("</script>", begin)])
    return found


def test_the_demo_writes_a_page(cli: Cli) -> None:
    """The page shows the call of ResilientSTT, also beside others; stdout is as without it."""
    result = cli("demo", "--fast", "--fault", "down", "--compare", "--json", "--html", "page.html")
    assert result.exit_code == 0
    assert result.stderr == "page.html written\n"
    assert json.loads(result.stdout)["resilient"]["lost"] == 0
    document = document_in(Path("page.html"))
    assert sum(document["accounts"]["words"].values()) == 70
    assert "deepgram took over" in document["result"]


@pytest.mark.usefixtures("keys")
def test_transcribe_writes_a_page(
    cli: Cli, record: Callable[..., Path], fakes: dict[str, str]
) -> None:
    """In real time, with the real plugins, of a file."""
    path = record("speech.wav", "pcm_s16le")
    urls = ["--cartesia-url", fakes["cartesia"], "--deepgram-url", fakes["deepgram"]]
    result = cli("transcribe", str(path), "--pace", "1.5", "--html", "page.html", *urls)
    assert (result.exit_code, result.stderr) == (0, "page.html written\n")
    (final,) = document_in(Path("page.html"))["finals"]
    assert final["text"] == result.stdout.strip()


def test_a_page_needs_a_place_and_a_single_call(cli: Cli, tmp_path: Path) -> None:
    """Both mistakes are told before anything runs."""
    result = cli("demo", "--fast", "--fault", "none", "--html", "no/such/page.html")
    assert result.exit_code == 2
    assert "there is no folder no/such" in result.stderr
    result = cli("demo", "--compare", "--fault", "all", "--html", "page.html")
    assert result.exit_code == 2
    assert "name one fault" in result.stderr


HEAD = {
    "kind": "stream",
    "version": 1,
    "software": "resilient_stt 0",
    "stream_id": "STT_1",
    "started": "2026-01-01T00:00:00.000+00:00",
    "text": True,
    "language": "",
    "providers": [{"name": "a", "model": "m"}],
    "replay_window": 60.0,
    "late_after": 3.0,
}
SERVED = {"kind": "opened", "at": 0.0, "clock": 0.0, "connection": 0, "from": 0.0}
LINES = [
    HEAD,
    {**SERVED, "provider": "a", "role": "active", "language": ""},
    {"kind": "serving", "at": 0.0, "clock": 0.0, "connection": 0, "provider": "a"},
    {"kind": "of_a_later_version", "at": 1.0, "clock": 1.0},
]


def test_a_page_of_what_a_crash_left(cli: Cli) -> None:
    """The lines become a document and a page; a document becomes the same page again."""
    lines = Path("x.jsonl")
    lines.write_text("".join(f"{json.dumps(line)}\n" for line in LINES) + '{"kind": "fin')
    result = cli("page", "x.jsonl")
    assert (result.exit_code, result.stdout) == (0, "x.html\n")
    document = json.loads(Path("x.json").read_text())
    jsonschema.validate(document, schema())
    assert document["outcome"] == "crashed"
    assert document["result"].endswith(
        "the recording stops at 1.0 s, with the process; no speech was lost."
    )
    first = Path("x.html").read_text()
    Path("x.html").unlink()
    assert cli("page", "x.json").exit_code == 0
    assert Path("x.html").read_text() == first


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("x.jsonl", "", "its first line has no kind 'stream'"),
        ("x.jsonl", '{"kind":"audio"}\n', "its first line has no kind 'stream'"),
        ("x.jsonl", json.dumps({**HEAD, "version": 2}), "has version 2; only 1 is known"),
        ("x.jsonl", json.dumps({"kind": "stream", "version": 1}), "a line of it is not"),
        ("x.jsonl", "[1]\n", "its first line has no kind 'stream'"),
        ("x.json", "{}", "is not a recording of version 1"),
        ("x.json", "not json", "is not a recording of version 1"),
    ],
)
def test_what_is_no_recording(cli: Cli, name: str, content: str, why: str) -> None:
    """It is said in one line, and nothing is written."""
    Path(name).write_text(content)
    result = cli("page", name)
    assert result.exit_code == 2
    assert why in result.stderr
    assert not Path("x.html").exists()


def test_the_schema_is_printed(cli: Cli) -> None:
    """It is a JSON Schema."""
    printed = json.loads(cli("page", "--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed == schema()
