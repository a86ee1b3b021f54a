"""The programs in examples/ do what they say, against the fake servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

from resilient_stt.testing import (
    Drop,
    FakeCartesia,
    FakeDeepgram,
    PlaySpeech,
    ReferenceSpeech,
    Refuse,
    from_,
    join,
)

from .support.scripts import load
from .test_languages import configuration

FAULTS = [Drop(at_word=16, part=0.5, connections={0}), Refuse(connections=from_(1))]


@pytest.mark.stt_virtual_time
async def test_the_worker_keeps_transcribing(
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    play_speech: PlaySpeech,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`agent.py` makes an STT for its calls; a failover loses no word, and is logged."""
    providers = [fake_cartesia.stt(), fake_deepgram.stt()]
    monkeypatch.setattr("resilient_stt.stt.from_environment", lambda: providers)
    fake_cartesia.faults = FAULTS
    agent: Any = load("examples/agent.py")
    process = SimpleNamespace(userdata={})
    agent.set_up(process)
    caplog.set_level("INFO", "agent")
    played = await play_speech(process.userdata["stt"])
    assert played.score.ok, str(played.score)
    assert "deepgram took over from cartesia" in caplog.messages


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize(("which", "complete"), [("before", False), ("after", True)])
async def test_a_migration_changes_one_name(
    which: str,
    complete: bool,
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    play_speech: PlaySpeech,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was reported is reported as before; the words of the failover are there, too."""
    example: Any = load("examples/from_fallback_adapter.py")
    fake_cartesia.faults = FAULTS
    caplog.set_level("INFO", "agent")
    made = getattr(example, which)([fake_cartesia.stt(), fake_deepgram.stt()])
    played = await play_speech(made)
    assert played.score.ok is complete, str(played.score)
    assert any("cartesia" in said and "does not work" in said for said in caplog.messages)


@pytest.mark.stt_virtual_time
async def test_a_call_changes_its_language(
    fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, capsys: pytest.CaptureFixture[str]
) -> None:
    """`languages.py` follows it, and prints what was said in both."""
    example: Any = load("examples/languages.py")
    speech = join(ReferenceSpeech.load("english").excerpt(0, 1), ReferenceSpeech.load("spanish"))

    async def frames() -> AsyncIterator[rtc.AudioFrame]:
        for frame in speech.padded(1.0).frames():
            yield frame

    await example.follow(frames(), configuration(fake_cartesia, fake_deepgram))
    printed = capsys.readouterr().out
    assert "-- es: route es (deepgram, dg-multi)" in printed
    assert "Hello, this is Miguel Santos" in printed
