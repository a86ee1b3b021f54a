from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from resilient_stt import ResilientSTT
from resilient_stt.cli.audio_file import open_audio_file
from resilient_stt.cli.transcribe import TranscriptPrinter
from resilient_stt.config import VARIABLE
from resilient_stt.local.decoding_thread import DecodingThread
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Refuse
from resilient_stt.testing.harness.clock import run_virtual

from ..support.local_engines import SpeechEngine

Cli = Callable[..., Any]
Record = Callable[..., Path]

SENTENCE = "Hello, this is Miguel Santos, I have a reservation at the Blue Heron."
NOWHERE = ["--cartesia-url", "http://127.0.0.1:1", "--deepgram-url", "http://127.0.0.1:1/v1/listen"]


@pytest.mark.slow
@pytest.mark.usefixtures("keys")
def test_a_file_through_both_providers(cli: Cli, record: Record, fakes: dict[str, str]) -> None:
    """stdout has the text only. The stereo file has another sample rate than the providers."""
    path = record("speech.flac", "flac", rate=44_100, layout="stereo")
    urls = ["--cartesia-url", fakes["cartesia"], "--deepgram-url", fakes["deepgram"]]
    result = cli("transcribe", str(path), "--pace", "1.5", *urls)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{SENTENCE}\n", "")
    result = cli("transcribe", str(path), "--pace", "1.5", "--json", *urls)
    (final,) = json.loads(result.stdout)
    assert final["text"] == SENTENCE
    assert final["start"] == pytest.approx(0.4, abs=0.05)
    assert final["end"] == pytest.approx(4.56, abs=0.05)
    assert [word["word"] for word in final["words"]] == SENTENCE.split()
    assert final["words"][0]["start"] == final["start"]


@pytest.mark.stt_virtual_time
async def test_language_and_failover(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    """The language reaches the providers; events are printed on stderr."""
    stderr = io.StringIO()
    async with FakeCartesia(faults=[Refuse()]) as first, FakeDeepgram() as second:
        with open_audio_file(record("speech.wav", "pcm_s16le")) as audio:
            printer = TranscriptPrinter(Console(file=stderr, width=80), audio, as_json=False)
            target = ResilientSTT([first.stt(), second.stt()])
            await printer.transcribe(target, language="en-GB", pace=1.0)
            printer.close()
        assert first.connections[0].query["language"] == "en"
        assert second.connections[0].query["language"] == "en-GB"
    assert capsys.readouterr().out == f"{SENTENCE}\n"
    assert "cartesia cannot be reached" in stderr.getvalue()
    assert "deepgram takes over" in stderr.getvalue()
    assert len(asyncio.all_tasks()) == 1


def test_without_keys_the_variables_are_named(
    cli: Cli, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names both variables and the extra that needs none, in one line."""
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    result = cli("transcribe", str(record("speech.wav", "pcm_s16le")))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "CARTESIA_API_KEY and DEEPGRAM_API_KEY" in result.stderr
    assert "livekit-resilient-stt[local]" in result.stderr


def test_without_keys_the_local_recognizer_transcribes(
    cli: Cli, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra is installed, a file needs no key, and a line says who transcribes it."""
    engine = SpeechEngine()
    monkeypatch.setattr(
        "resilient_stt.local.local_stt.shared_thread", lambda *_: DecodingThread(engine)
    )
    result = cli("transcribe", str(record("speech.wav", "pcm_s16le")), "--pace", "9")
    assert (result.exit_code, result.stdout) == (0, f"{SENTENCE}\n")
    assert result.stderr == "no key is set: stand-in/exact transcribes, in this process\n"
    result = cli("transcribe", str(record("speech.wav", "pcm_s16le")), "--language", "de")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "does not know the language de" in result.stderr


def test_missing_file(cli: Cli) -> None:
    """A missing file is an error before missing keys are."""
    result = cli("transcribe", "nothing.wav")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "resilient-stt: cannot read nothing.wav: No such file or directory\n"


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("pace", ["3", "0"])
def test_pace_is_limited(cli: Cli, record: Record, pace: str) -> None:
    """The pace cannot exceed that of the slowest provider."""
    result = cli("transcribe", str(record("speech.wav", "pcm_s16le")), "--pace", pace)
    assert (result.exit_code, result.stdout) == (2, "")
    assert ("at most 1.5" if pace == "3" else "0.1") in result.stderr


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `asyncio.run` use a virtual clock."""
    monkeypatch.setattr("asyncio.run", run_virtual)


@pytest.mark.usefixtures("keys", "virtual")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_endless_outage_ends_with_an_error(cli: Cli, record: Record, more: list[str]) -> None:
    """The error is one line. The status is 1, because the user made no mistake."""
    result = cli("transcribe", str(record("speech.wav", "pcm_s16le")), *NOWHERE, *more)
    assert (result.exit_code, result.stdout) == (1, "[]\n" if more else "")
    assert "no provider works" in result.stderr
    assert "\nresilient-stt: gave up: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("virtual")
def test_keys_are_read_from_env_files(cli: Cli, record: Record, tmp_path: Path) -> None:
    """A provider whose key is missing is not used, and a line says so."""
    (tmp_path / ".env").write_text("DEEPGRAM_API_KEY=from-env\n")
    result = cli("transcribe", str(record("speech.wav", "pcm_s16le")), *NOWHERE)
    assert "cartesia is not used: CARTESIA_API_KEY is not set" in result.stderr
    assert "deepgram cannot be reached" in result.stderr
    assert "from-env" not in result.output


@pytest.mark.usefixtures("virtual")
def test_the_real_environment_wins(
    cli: Cli, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is set is not replaced by a file. .env.local wins over .env."""
    seen: list[str] = []
    monkeypatch.setenv("CARTESIA_API_KEY", "real")
    (tmp_path / ".env.local").write_text("CARTESIA_API_KEY=local\nDEEPGRAM_API_KEY=local\n")
    (tmp_path / ".env").write_text("DEEPGRAM_API_KEY=plain\n")

    def spy(_: Any) -> list[Any]:
        import os

        seen.extend([os.environ["CARTESIA_API_KEY"], os.environ["DEEPGRAM_API_KEY"]])
        return []

    monkeypatch.setattr("resilient_stt.cli.chosen_providers.from_environment", spy)
    cli("transcribe", str(record("speech.wav", "pcm_s16le")))
    assert seen == ["real", "local"]


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("by", ["option", "environment", "env-file"])
def test_the_providers_of_a_configuration(
    cli: Cli,
    record: Record,
    fakes: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """`--config`, or RESILIENT_STT_CONFIG, names it; addresses are options of its providers."""
    (tmp_path / "stt.yaml").write_text(
        f"providers:\n  mine: {{plugin: deepgram, options: {{base_url: '{fakes['deepgram']}'}}}}\n"
    )
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    more = ["--config", "stt.yaml"] if by == "option" else []
    if by == "environment":
        monkeypatch.setenv(VARIABLE, "stt.yaml")
    elif by == "env-file":
        (tmp_path / ".env").write_text(f"{VARIABLE}=stt.yaml\n")
    path = str(record("speech.wav", "pcm_s16le"))
    result = cli("transcribe", path, "--pace", "2", *more)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{SENTENCE}\n", "")


@pytest.mark.usefixtures("keys")
def test_an_address_of_one_s_own(cli: Cli, record: Record, tmp_path: Path) -> None:
    """`--deepgram-url` is in the help, and is that of a configuration's Deepgram, too."""
    assert "--deepgram-url" in cli("transcribe", "--help").stdout
    (tmp_path / "stt.yaml").write_text(
        "providers: {mine: {plugin: deepgram}}\nretry: {outage_limit: 0.5}\n"
    )
    path = str(record("speech.wav", "pcm_s16le"))
    result = cli("transcribe", path, "--config", "stt.yaml", *NOWHERE)
    assert result.exit_code == 1
    assert "mine cannot be reached" in result.stderr


def test_a_broken_configuration_is_told(cli: Cli, record: Record, tmp_path: Path) -> None:
    """As `check` tells it; nothing is printed on stdout."""
    (tmp_path / "stt.yaml").write_text("providers: {d: {plugin: deepgrm}}\n")
    path = str(record("speech.wav", "pcm_s16le"))
    result = cli("transcribe", path, "--config", "stt.yaml", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean 'deepgram'" in result.stderr


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("config", [False, True])
@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("xx", "does not support 'xx', only"),
        ("english", "'english' is not a language tag (BCP 47); did you mean 'en'?"),
        ("e n", "is not a language tag"),
    ],
)
def test_the_language_is_checked_as_check_does(
    cli: Cli, record: Record, tmp_path: Path, language: str, says: str, config: bool
) -> None:
    """Before anything is sent, and with the same words."""
    (tmp_path / "stt.yaml").write_text("providers: {d: {plugin: deepgram}}\n")
    more = ["--config", "stt.yaml"] if config else NOWHERE
    path = str(record("speech.wav", "pcm_s16le"))
    result = cli("transcribe", path, "--language", language, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


@pytest.mark.usefixtures("keys", "virtual")
def test_a_default_provider_without_the_language_is_left_out(cli: Cli, record: Record) -> None:
    """Cartesia alone transcribes Welsh, and a line says so."""
    path = str(record("speech.wav", "pcm_s16le"))
    result = cli("transcribe", path, "--language", "cy", *NOWHERE)
    assert "not used: deepgram (nova-3) does not support 'cy'" in result.stderr
    assert "cartesia cannot be reached" in result.stderr
    assert "deepgram takes over" not in result.stderr
