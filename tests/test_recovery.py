"""Outages and the way back: the real plugins over real sockets, on a virtual clock."""

from __future__ import annotations

import math

import pytest
from livekit.agents.stt import SpeechEventType

from resilient_stt import FailbackPolicy, Policies, ReplayPolicy
from resilient_stt.core.events import (
    AudioLost,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    Switched,
)
from resilient_stt.livekit.vad import BundledDetector
from resilient_stt.testing.faults import ConnectFault, Drop, Hang, Refuse, Stall, Status
from resilient_stt.testing.speech.noise import join, silence
from resilient_stt.testing.speech.reference import SAMPLE_RATE, ReferenceSpeech

from .support.trials import DEEPGRAM, INK2, WHISPER, FaultPlan, Trial, check, run_trial

pytestmark = [pytest.mark.stt_virtual_time, pytest.mark.sweep]

SPEECH = ReferenceSpeech.load("english")
CHAINS = {"ink-whisper": WHISPER, "ink-2": INK2, "deepgram": DEEPGRAM}
FAULTS: dict[str, type[ConnectFault]] = {"refuse": Refuse, "hang": Hang}
BEGINS = 4.0
SOON = Policies(failback=FailbackPolicy(min_dwell=5.0))


def outage(kind: type[ConnectFault], seconds: float) -> FaultPlan:
    """Both providers are down, in the middle of a sentence."""
    until = BEGINS + seconds
    return FaultPlan(
        (Drop(at_time=BEGINS), kind(at_time=BEGINS, until=until)),
        (Refuse(until=until),),
    )


def text_after(done: Trial, at: float) -> float:
    """When the first text came after a moment."""
    return min(
        (t for t, e in done.played.events if t >= at and e.alternatives and e.alternatives[0].text),
        default=math.inf,
    )


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("seconds", [6.0, 20.0])
@pytest.mark.parametrize("kind", FAULTS)
async def test_both_down_in_mid_sentence(kind: str, seconds: float, chain: str) -> None:
    """Nothing is lost, and text comes within a second after the first provider is back."""
    done = await run_trial(outage(FAULTS[kind], seconds), SPEECH.padded(1.0), CHAINS[chain])
    check(done.played, kind, accurate=chain != "ink-2")
    back = BEGINS + seconds
    assert text_after(done, back) - back <= 1.0
    assert len(done.of(OutageStarted)) == len(done.of(OutageEnded)) == 1
    assert max(done.connections) <= 10 + 4 * seconds  # no more than 4 connections a second


@pytest.mark.parametrize(("window", "seconds"), [(10.0, 25.0), (10.0, 12.0), (5.0, 18.0)])
async def test_down_for_longer_than_the_window(window: float, seconds: float) -> None:
    """Exactly the audio beyond the window is lost, and reported to a tenth of a second."""
    speech = join(SPEECH, SPEECH).padded(1.0)
    policies = Policies(replay=ReplayPolicy(window=window))
    done = await run_trial(outage(Refuse, seconds), speech, policies=policies)
    assert done.played.finished
    assert done.played.balanced
    served = [c for s in done.servers for c in s.connections if c.sent and c.opened > BEGINS]
    edge = min(c.opened for c in served) - window
    assert done.played.score.twice == 0
    late = done.played.score.late_s
    told = [w for w, at in zip(speech.words, late, strict=True) if at < math.inf]
    kept = [w for w in speech.words if w.start > edge + 0.1]
    assert kept == [w for w in told if w.start > edge + 0.1]
    spoken = sum(max(0.0, min(end, edge) - start) for start, end in voiced(speech))
    reported = sum(loss.seconds for loss in done.of(AudioLost))
    assert reported == pytest.approx(spoken, abs=0.1)


def voiced(speech: ReferenceSpeech) -> list[tuple[float, float]]:
    """What the detector takes for speech, in seconds."""
    detector = BundledDetector()
    edges = [edge for frame in speech.frames() for edge in detector.push(frame)]
    edges += detector.finish()
    at = [edge.at / SAMPLE_RATE for edge in edges]
    return list(zip(at[::2], at[1::2], strict=True))


@pytest.mark.parametrize("chain", CHAINS)
async def test_flapping(chain: str) -> None:
    """A connection that drops every three seconds loses nothing, and is left for the fallback."""
    speech = join(SPEECH, SPEECH).padded(1.0)
    done = await run_trial(FaultPlan((Drop(at_audio=3.0),)), speech, CHAINS[chain])
    check(done.played, "flapping", accurate=chain != "ink-2")
    first, second = CHAINS[chain].order
    served = [switch.to_provider for switch in done.of(Switched)]
    assert served.index(second) <= 3  # three reopenings are all there are
    assert served.count(first) <= 4  # and one return, for probes of short utterances pass


@pytest.mark.parametrize("chain", CHAINS)
async def test_back_on_the_primary_at_a_turn_boundary(chain: str) -> None:
    """Down for 12 s, then healthy: probes notice, and the call returns between two turns."""
    speech = join(SPEECH, silence(1.0), SPEECH, silence(1.0), SPEECH).padded(1.0)
    until = BEGINS + 12
    script = FaultPlan((Drop(at_time=BEGINS), Refuse(at_time=BEGINS, until=until)))
    done = await run_trial(script, speech, CHAINS[chain], SOON)
    check(done.played, "failback", accurate=chain != "ink-2")
    first, _ = CHAINS[chain].order
    assert done.of(Switched)[-1].reason == "failback"
    assert done.of(Switched)[-1].to_provider == first
    (recovered,) = done.of(ProviderRecovered)
    assert until < recovered.at < done.of(Switched)[-1].at
    assert boundary(speech, done.of(Switched)[-1].at)


def boundary(speech: ReferenceSpeech, at: float) -> bool:
    """Whether nobody has spoken for half a second."""
    return not any(w.start < at and at - 0.5 < w.end for w in speech.words)


@pytest.mark.parametrize("fault", [Stall(at_time=BEGINS), Status(503, at_time=BEGINS)], ids=repr)
async def test_a_deaf_primary_does_not_get_the_call_back(fault: Stall | Status) -> None:
    """A primary that accepts connections and transcribes nothing does not get the call back."""
    speech = join(SPEECH, silence(1.0), SPEECH, silence(1.0), SPEECH).padded(1.0)
    done = await run_trial(FaultPlan((Drop(at_time=BEGINS), fault)), speech, policies=SOON)
    check(done.played, "deaf")
    assert done.of(Switched)[-1].to_provider == "deepgram"
    assert not done.of(ProviderRecovered)
    assert len(done.of(ProviderFailed)) <= 8
    ends = [e for _, e in done.played.events if e.type is SpeechEventType.END_OF_SPEECH]
    assert ends
