"""`demo --real`, with an engine that knows the recording in place of a model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from resilient_stt.cli.demo import real_speech
from resilient_stt.cli.demo.scenarios import SCENARIOS
from resilient_stt.testing import RecognizerFactory, human_speech, local_recognizer
from resilient_stt.testing.faults import StreamFault

from ...support.word_engine import WordEngine

Cli = Callable[..., Any]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Mapping[str, RecognizerFactory] = {
        name: local_recognizer(WordEngine(speech=human_speech()), pause=pause)
        for name, pause in real_speech.PAUSES.items()
    }
    monkeypatch.setattr(real_speech, "recognizers", lambda: made)


@pytest.mark.usefixtures("stand_in")
def test_it_says_what_is_real_and_what_the_recognizer_mishears(cli: Cli) -> None:
    """The lines are those of the demo; the sentence below is about the word error rate."""
    result = cli("demo", "--real", "--fast", "--fault", "both")
    assert result.exit_code == 0
    flat = " ".join(result.stdout.split())
    assert "real: the voice (Jane Austen, read for LibriVox), the recognizer" in flat
    assert "not real: Cartesia and Deepgram." in flat
    assert "cartesia dropped the connection" in flat
    assert "deepgram: and mr john dashwood had then leisure" in flat
    assert "cartesia: " in flat
    assert "word error rate" in flat
    assert "Word error rate: 0.0%. Without faults it is 0.0%" in flat


@pytest.mark.usefixtures("stand_in")
def test_json_has_the_rates(cli: Cli) -> None:
    """They stand in place of lost and repeated words."""
    figures = json.loads(cli("demo", "--real", "--fast", "--json", "--fault", "down").stdout)
    assert figures["word_error_rate"] == figures["undisturbed_word_error_rate"] == 0.0
    assert figures["words"] == 67
    assert figures["switches"] == 1
    assert "lost" not in figures


@pytest.mark.usefixtures("stand_in")
def test_more_errors_than_without_faults_are_the_exit_status(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One point is allowed."""
    monkeypatch.setattr(real_speech, "undisturbed_error_rate", lambda speech: -0.02)
    assert cli("demo", "--real", "--fast", "--fault", "none").exit_code == 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_faults_wait_for_seconds(name: str) -> None:
    """A real recognizer does not know when a word is spoken. Cartesia's faults happen within the
    speech, at about the same second."""
    given = SCENARIOS[name]
    scenario = real_speech.with_human_speech(given)
    assert scenario.speech().text == human_speech().text
    for fault, before in zip(scenario.cartesia, given.cartesia, strict=True):
        if isinstance(fault, StreamFault) and isinstance(before, StreamFault):
            assert fault.at_word is None
            assert (fault.at_audio is None) == (before.at_word is None)
            assert fault.at_audio is None or fault.at_audio == pytest.approx(6.2, abs=0.5)


def test_without_the_extra(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says how to install it."""
    monkeypatch.setitem(sys.modules, "moonshine_voice", None)
    real_speech.recognizers.cache_clear()
    result = cli("demo", "--real", "--fast")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "--real: the local recognizer needs moonshine_voice" in result.stderr
    assert "[local]" in result.stderr


def test_real_speech_is_not_for_the_readme(cli: Cli) -> None:
    """Its figures depend on the machine's model."""
    result = cli("demo", "--real", "--compare", "--markdown")
    assert result.exit_code == 2
    assert "--real cannot be combined" in result.stderr
