"""After `end_input()` a stream ends soon, whatever its providers do, with every word it has."""

from __future__ import annotations

import pytest

from resilient_stt import AudioLost, RetryPolicy
from resilient_stt.core.policy import WatchdogPolicy
from resilient_stt.testing.faults import Drop, Fault, Hang, Refuse, from_
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import arena

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)
LIMIT = RetryPolicy().end_input_limit + SPEECH.duration / WatchdogPolicy().min_processing_rate


@pytest.mark.parametrize("rest", [Hang(connections=from_(1)), Refuse(connections=from_(1))])
@pytest.mark.parametrize("word", range(1, len(SPEECH.words), 3))
async def test_peers_that_cannot_be_reached(word: int, rest: Fault) -> None:
    """Every word that an interim transcript has shown is final in the end; the rest is lost."""
    first: list[Fault] = [Drop(at_word=word, part=0.5, connections={0}), rest]
    others: list[Fault] = [Hang() if isinstance(rest, Hang) else Refuse()]
    async with arena([*others], first, only=("deepgram", "cartesia")) as a:
        played = await play(a.stt, SPEECH, patience=60.0)
    shown = [e for _, e in played.events if e.type == "interim_transcript"]
    found = played.score
    assert played.error is not None or not found.lost
    assert not isinstance(played.error, TimeoutError)
    assert found.twice == found.fragments == 0
    assert found.in_order
    assert played.balanced
    # The plugin has told what it was told itself before the connection broke.
    assert shown or word < 3
    told = len(SPEECH.words) - found.lost
    assert told >= word - 4
    lost = sum(e.seconds for e in a.events if isinstance(e, AudioLost))
    missing = SPEECH.words[told:]
    assert lost >= sum(w.end - w.start for w in missing) - 0.5
    assert lost <= SPEECH.duration
    assert max(at for at, _ in played.events) <= SPEECH.duration + LIMIT
