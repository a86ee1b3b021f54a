"""Providers that fall silent or lie without an error, at every word: nothing is lost, and the delay
is 3 s at most.

The real plugins over real sockets, on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from livekit.agents import APIConnectionError

from resilient_stt.core.events import (
    AudioLost,
    HedgeFinished,
    OutageStarted,
    ProviderFailed,
    Switched,
)
from resilient_stt.testing.faults import (
    EmptyFinals,
    Fault,
    Garbage,
    HalfOpen,
    IgnoreClose,
    InBandError,
    Latency,
    LostFinal,
    Stall,
)
from resilient_stt.testing.speech.noise import babble, coughs, join, music, reversed_speech, silence
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.trials import (
    DEEPGRAM,
    HEALTHY,
    INK2,
    WHISPER,
    Chain,
    FaultPlan,
    check,
    check_delay,
    run_trial,
    run_trials,
    slowest_healthy,
)

pytestmark = [pytest.mark.stt_virtual_time, pytest.mark.sweep]

SPEECH = ReferenceSpeech.load("english")
SENTENCES = range(len(SPEECH.sentences))

CHAINS = {"ink-whisper": WHISPER, "ink-2": INK2, "deepgram": DEEPGRAM}

DELAY = 3.0
"""Seconds that silence may cost beyond a healthy run. Virtual time: the same on every machine."""

DELAY_ALONE = 4.5
"""The same for a provider without another: its second connection begins at the deadline only, and a
turn of ink-2 takes its time once more."""


Make = Callable[[int, float], Fault]
"""Makes a fault that begins at a part of a word."""


def stall(word: int, part: float) -> Fault:
    """Pings are answered, and nothing else."""
    return Stall(at_word=word, part=part)


LIES: dict[str, Make] = {
    "half-open": lambda word, part: HalfOpen(at_word=word, part=part),
    "in-band-400": lambda word, part: InBandError(400, at_word=word, part=part),
    "in-band-402": lambda word, part: InBandError(
        402, shape="status_code", at_word=word, part=part
    ),
    "in-band-429": lambda word, part: InBandError(429, at_word=word, part=part),
    "in-band-500": lambda word, part: InBandError(500, at_word=word, part=part),
    "unparsable": lambda word, part: Garbage("unparsable", at_word=word, part=part),
    "no-text": lambda word, part: Garbage("no_text", at_word=word, part=part),
    "wrong-types": lambda word, part: Garbage("wrong_types", at_word=word, part=part),
    "list": lambda word, part: Garbage("list", at_word=word, part=part),
    "binary": lambda word, part: Garbage("binary", at_word=word, part=part),
    "unknown-type": lambda word, part: Garbage("unknown_type", at_word=word, part=part),
    "slow": lambda word, part: Latency(3.0, at_word=word, part=part),
    "ignored-close": lambda word, part: IgnoreClose(at_word=word, part=part),
}


def around(sentence: int) -> ReferenceSpeech:
    """A sentence with its neighbors, and a second of silence behind."""
    return SPEECH.excerpt(max(0, sentence - 1), min(sentence + 1, len(SENTENCES) - 1)).padded(1.0)


async def check_all(
    chain: Chain, make: Make, sentence: int, moments: list[tuple[int, float]]
) -> None:
    """Inject the fault at each moment of a sentence."""
    speech = around(sentence)
    slowest = await slowest_healthy(speech, chain)
    scripts = [FaultPlan((make(word, part),)) for word, part in moments]
    runs = await run_trials(scripts, speech, chain)
    for (word, part), done in zip(moments, runs, strict=True):
        where = f"{make(word, part)} ({SPEECH.words[word].text})"
        check(done.played, where, accurate=chain is not INK2)
        check_delay(done.played, slowest, DELAY, where)


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("chain", CHAINS)
async def test_a_stall_at_every_word(chain: str, sentence: int) -> None:
    """A provider that answers pings and nothing else, from any word on, costs no word.

    Every word of the default chain; the other chains take every third.
    """
    every = 1 if chain == "ink-whisper" else 3
    moments = [(word, 0.5 * (word % 2)) for word in SPEECH.sentences[sentence][::every]]
    await check_all(CHAINS[chain], stall, sentence, moments)


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("chain", CHAINS)
async def test_other_silences_and_lies(chain: str, name: str) -> None:
    """Every other way to send nothing, or nothing sensible, costs no word."""
    words = SPEECH.sentences[4]
    moments = [(words[len(words) // 2], 0.5)]
    if chain == "ink-whisper":
        moments += [(words[0], 0.0), (words[-1], 0.9)]
    await check_all(CHAINS[chain], LIES[name], 4, moments)


@pytest.mark.parametrize("chain", CHAINS)
async def test_one_final_is_lost(chain: str) -> None:
    """A provider that leaves one final out and goes on costs no word."""
    moments = [words[0] for words in SPEECH.sentences]
    scripts = [FaultPlan((LostFinal(at_word=word, connections={0}),)) for word in moments]
    runs = await run_trials(scripts, SPEECH.padded(1.0), CHAINS[chain])
    for word, done in zip(moments, runs, strict=True):
        check(done.played, f"the final lost of word {word}", accurate=chain != "ink-2")


@pytest.mark.parametrize("chain", [WHISPER, DEEPGRAM], ids=["ink-whisper", "deepgram"])
async def test_empty_finals(chain: Chain) -> None:
    """Empty finals lose nothing: they are believed for short sounds, never for speech."""
    moments = [(words[0], 0.0) for words in SPEECH.sentences[:-1:2]]
    speech = SPEECH.padded(1.0)
    runs = await run_trials(
        [FaultPlan((EmptyFinals(at_word=w, part=p),)) for w, p in moments], speech, chain
    )
    for (word, _), done in zip(moments, runs, strict=True):
        check(done.played, f"empty finals from word {word} on")


@pytest.mark.parametrize("chain", [WHISPER, DEEPGRAM], ids=["ink-whisper", "deepgram"])
async def test_slow_finals(chain: Chain) -> None:
    """A provider that is always 3 s late is left after three slow finals at the latest."""
    done = await run_trial(FaultPlan((Latency(3.0),)), SPEECH.padded(1.0), chain)
    check(done.played, "slow")
    left = done.of(Switched)[0]
    assert (left.from_provider, left.to_provider) == chain.order
    finals = [f for f in done.played.finals if f.at < left.at]
    assert len(finals) <= 4


@pytest.mark.parametrize("chain", CHAINS)
async def test_a_sole_provider_is_its_own_hedge(chain: str) -> None:
    """Without another provider, a second connection to the same one serves as the hedge."""
    alone = Chain(CHAINS[chain].order[:1], CHAINS[chain].model)
    speech = around(2)
    (healthy,) = await run_trials([HEALTHY], speech, alone)
    words = SPEECH.sentences[2]
    moments = [(words[1], 0.5), (words[-1], 0.5)]
    scripts = [FaultPlan((Stall(at_word=w, part=p, connections={0}),)) for w, p in moments]
    for done in await run_trials(scripts, speech, alone):
        check(done.played, f"{chain} alone", accurate=alone.model != "ink-2")
        check_delay(done.played, list(healthy.played.score.late_s), DELAY_ALONE, f"{chain} alone")
        assert [o.outcome for o in done.of(HedgeFinished)] == ["promoted"]


NOISES = {
    "coughs": coughs,
    "music": music,
    "babble": babble,
    "reversed speech": reversed_speech,
}


@pytest.mark.parametrize(
    ("noise", "chain"),
    [*((noise, "ink-whisper") for noise in NOISES), ("music", "ink-2"), ("coughs", "deepgram")],
)
async def test_noise_is_not_a_fault(noise: str, chain: str) -> None:
    """In a minute of noise that only a detector takes for speech, no provider is left, and hedges
    become rare.
    """
    before, after = SPEECH.excerpt(0, 1), SPEECH.excerpt(2, 3)
    speech = join(before, silence(1.5), NOISES[noise](60.0), silence(1.5), after).padded(1.0)
    done = await run_trial(HEALTHY, speech, CHAINS[chain])
    check(done.played, noise, accurate=chain != "ink-2")
    assert not done.of(Switched)
    assert not done.of(ProviderFailed)
    opinions = [(at, e) for at, e in done.events if isinstance(e, HedgeFinished)]
    assert {hedging.outcome for _, hedging in opinions} <= {"no_speech", "primary_recovered"}
    assert len(opinions) <= 6


@pytest.mark.parametrize("chain", CHAINS)
async def test_a_users_silence_is_not_a_fault(chain: str) -> None:
    """In a minute of silence, nothing is hedged and nothing is kept for a replay."""
    speech = join(SPEECH.excerpt(0, 1), silence(60.0), SPEECH.excerpt(2, 3)).padded(1.0)
    done = await run_trial(HEALTHY, speech, CHAINS[chain])
    check(done.played, "silence", accurate=chain != "ink-2")
    assert not done.events
    assert done.connections == [1, 0]


ALL_SILENT = [(8.0, 4.0), (8.0, 10.0), (11.3, 15.0), (6.5, 25.0)]
"""When all providers fall silent, and for how long, in seconds."""


@pytest.mark.parametrize(("since", "lasts"), ALL_SILENT)
@pytest.mark.parametrize("chain", [WHISPER, DEEPGRAM], ids=["ink-whisper", "deepgram"])
async def test_both_providers_are_silent(chain: Chain, since: float, lasts: float) -> None:
    """Nothing is lost although nobody hears anything for a time; long silence is an outage."""
    stall = Stall(at_time=since, until=since + lasts)
    done = await run_trial(FaultPlan((stall,), (stall,)), SPEECH.padded(1.0), chain)
    check(done.played, f"both silent for {lasts} s from {since} s on")
    assert not done.of(AudioLost)
    if lasts >= 15:
        assert done.of(OutageStarted)


@pytest.mark.parametrize("model", ["ink-whisper", "ink-2"])
async def test_a_sole_provider_that_never_gives_a_word(model: str) -> None:
    """It costs all words, but not in silence: an outage, the loss, and an error that says why."""
    alone = Chain(("cartesia",), model)
    done = await run_trial(FaultPlan((Stall(),)), SPEECH.padded(1.0), alone)
    assert not done.played.finals
    assert done.of(OutageStarted)
    assert sum(e.seconds for e in done.of(AudioLost)) > 15
    assert isinstance(done.played.error, APIConnectionError)
    assert "gave a word for" in str(done.played.error)
