"""Fake servers with accents write and time words in their own way, over the real plugins."""

from __future__ import annotations

import pytest

from resilient_stt.testing import Accent, Drop, FakeCartesia, FakeDeepgram, PlaySpeech
from resilient_stt.testing.harness.trial import (
    Chain,
    FaultPlan,
    accents_of,
    run_trial,
    violations,
)
from resilient_stt.testing.speech.reference import ReferenceSpeech

pytestmark = [pytest.mark.asyncio, pytest.mark.stt_virtual_time]

SPEECH = ReferenceSpeech.load().excerpt(1, 2).padded(1.0)
SPOKEN = "It is for Thursday evening, a quiet table for four. Could you please move it to Saturday?"
WRITTEN = Accent(seed=1, casing="lower", punctuates=False, variants=1.0, splits=1.0, shift=0.04)
SHOWN = "it's for thur sday evening a quiet table for 4 could you please move it to satu rday"


def text_of(finals: object) -> str:
    return " ".join(" ".join(final.text for final in finals).split())  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", ["ink-whisper", "ink-2"])
async def test_cartesia(fake_cartesia: FakeCartesia, play_speech: PlaySpeech, model: str) -> None:
    """Both models write with the accent; the score knows the forms if it is told of it."""
    fake_cartesia.accent = WRITTEN
    played = await play_speech(fake_cartesia.stt(model=model), SPEECH, accents=[WRITTEN])
    assert text_of(played.finals) == SHOWN
    assert played.score.ok
    played.accents = ()
    assert played.score.lost == 5


async def test_deepgram(fake_deepgram: FakeDeepgram, play_speech: PlaySpeech) -> None:
    """Words have the times of the accent, in finals and in interims."""
    fake_deepgram.accent = WRITTEN
    played = await play_speech(fake_deepgram.stt(), SPEECH, accents=[WRITTEN])
    assert text_of(played.finals) == SHOWN
    assert played.score.ok
    assert played.score.ts_err_max_s == pytest.approx(0.04, abs=0.015)
    assert not violations(played)


async def test_no_accent(fake_deepgram: FakeDeepgram, play_speech: PlaySpeech) -> None:
    """Without an accent, a server writes what was spoken."""
    played = await play_speech(fake_deepgram.stt(punctuate=True), SPEECH)
    assert text_of(played.finals) == SPOKEN


async def test_other_segmentation(fake_cartesia: FakeCartesia, play_speech: PlaySpeech) -> None:
    """An accent makes finals of so many words, or after another silence."""
    usual = await play_speech(fake_cartesia.stt(), SPEECH)
    fake_cartesia.accent = Accent(max_words=3)
    short = await play_speech(fake_cartesia.stt(), SPEECH, accents=[fake_cartesia.accent])
    assert len(short.finals) > 2 * len(usual.finals)
    assert short.score.ok
    fake_cartesia.accent = Accent(pause=0.2)
    early = await play_speech(fake_cartesia.stt(), SPEECH, accents=[fake_cartesia.accent])
    assert len(early.finals) > len(usual.finals)
    assert early.score.ok


async def test_batch(fake_deepgram: FakeDeepgram) -> None:
    """The batch endpoint writes with the accent, too."""
    fake_deepgram.accent = WRITTEN
    async with fake_deepgram.stt() as deepgram:
        event = await deepgram.recognize([*SPEECH.frames()])
    assert event.alternatives[0].text == SHOWN


@pytest.mark.parametrize("model", ["ink-whisper", "ink-2"])
async def test_a_drop_between_two_accents(model: str) -> None:
    """A trial over providers that write differently is judged by the words, not by the letters."""
    chain = Chain(model=model)
    accents = accents_of(chain, 4)
    assert accents[0] != accents[1]
    fault = Drop(at_word=18, part=0.5)
    trial = await run_trial(FaultPlan((fault,)), SPEECH, chain, accents=accents)
    assert trial.served == "Deepgram"
    assert not violations(trial.played, accurate=trial.timed), str(trial.played.score)
