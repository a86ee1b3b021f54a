from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger, Segment
from resilient_stt.core.policy import ReplayPolicy

RATE = 100
POLICY = ReplayPolicy(window=20.0)


def ledger_of(
    end: float = 0.0,
    *segments: tuple[float, float | None],
    committed: float = 0.0,
    vad_enabled: bool = True,
    policy: ReplayPolicy = POLICY,
) -> AudioLedger:
    """A ledger after `end` seconds of audio, with voice in `segments`, committed to `committed`."""
    ledger = AudioLedger(policy, vad_enabled=vad_enabled)
    if end:
        ledger.push(at(end), RATE)
    for start, stop in segments:
        ledger.speech_started(at(start))
        if stop is not None:
            ledger.speech_ended(at(stop))
    ledger.commit(at(committed))
    return ledger


def at(seconds: float) -> int:
    return round(seconds * RATE)


# --- after any events

steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3000)),
        st.tuples(st.just("voice"), st.integers(0, 150)),
        st.tuples(st.just("commit"), st.integers(0, 500)),
        st.tuples(st.just("silence"), st.integers(0, 500)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=40,
)
"""(what happens, samples to push or samples before the live edge)."""


def apply(
    ledger: AudioLedger, voice: list[tuple[int, int | None]], what: str, number: int
) -> float:
    """Make one step, and record the voice; returns the seconds that were lost."""
    position = max(0, ledger.end - number)
    match what:
        case "push":
            before = ledger.watermark
            gone = ledger.push(number, RATE)
            assert all(before <= start < end <= ledger.start for start, end in gone)
            return sum(end - start for start, end in gone) / RATE
        case "voice" if ledger.speaking:
            position = max(position, voice[-1][0])
            ledger.speech_ended(position)
            voice[-1] = (voice[-1][0], position)
        case "voice":
            position = max(position, (voice[-1][1] or 0) if voice else 0)
            ledger.speech_started(position)
            voice.append((position, None))
        case "commit":
            ledger.commit(position)
        case "silence":
            ledger.commit_silence(position)
        case "flush":
            ledger.add_flush()
    return 0.0


def after(script: list[tuple[str, int]]) -> AudioLedger:
    """A ledger with voice activity after all steps of a script."""
    ledger, voice = AudioLedger(POLICY, vad_enabled=True), list[tuple[int, int | None]]()
    for step in script:
        apply(ledger, voice, *step)
    return ledger


@given(steps, st.booleans())
def test_the_watermark_never_moves_back(script: list[tuple[str, int]], vad_enabled: bool) -> None:
    """Start, watermark and end stay in order, never move back, and stay within the window."""
    ledger, voice = AudioLedger(POLICY, vad_enabled=vad_enabled), list[tuple[int, int | None]]()
    before = (0, 0, 0)
    for step in script:
        apply(ledger, voice, *step)
        now = (ledger.start, ledger.watermark, ledger.end)
        assert now[0] <= now[1] <= now[2]
        assert all(a <= b for a, b in zip(before, now, strict=True))
        assert ledger.end - ledger.start <= at(POLICY.window)
        assert ledger.watermark - ledger.start <= at(POLICY.window)
        assert all(ledger.start <= m <= ledger.end for m in flushes(ledger))
        before = now


def flushes(ledger: AudioLedger) -> list[int]:
    found, flush = [], ledger.next_flush(-1)
    while flush is not None:
        found.append(flush)
        flush = ledger.next_flush(flush)
    return found


@given(steps, st.booleans())
def test_loss_is_the_voice_that_falls_out(script: list[tuple[str, int]], vad_enabled: bool) -> None:
    """Exactly the voice that the window passes before it was committed is lost."""
    ledger, voice = AudioLedger(POLICY, vad_enabled=vad_enabled), list[tuple[int, int | None]]()
    for what, number in script:
        watermark = ledger.watermark
        lost = apply(ledger, voice, what, number)
        gone = max(watermark, ledger.end - at(POLICY.window)) if what == "push" else watermark
        spans = (
            [(s, ledger.end if e is None else e) for s, e in voice] if vad_enabled else [(0, gone)]
        )
        expected = sum(max(0, min(e, gone) - max(s, watermark)) for s, e in spans)
        assert lost == pytest.approx(expected / RATE)


@given(steps)
def test_committing_silence_stops_at_pending_voice(script: list[tuple[str, int]]) -> None:
    """It also stops before the newest audio."""
    ledger = after(script)
    watermark, pending = ledger.watermark, ledger.first_pending()
    ledger.commit_silence(ledger.end)
    assert ledger.watermark <= max(watermark, ledger.end - at(POLICY.hold_back))
    if pending:
        assert ledger.watermark <= max(watermark, pending.start)
        assert ledger.first_pending() == pending


@given(steps, st.floats(0, 1))
def test_a_replay_never_skips_voice(script: list[tuple[str, int]], share: float) -> None:
    """From any position a replay continues at the next voice or before it, and never goes back."""
    ledger = after(script)
    position = ledger.start + round(share * (ledger.end - ledger.start))
    cut, onward = ledger.next_trim(position)
    assert position <= onward <= ledger.end
    assert cut <= onward
    assert ledger.voiced_samples(max(cut, position), onward) == 0


@given(steps, st.floats(0, 1))
def test_the_next_trim_is_the_same_from_any_position_before_it(
    script: list[tuple[str, int]], share: float
) -> None:
    """It changes only once the replay has passed it."""
    ledger = after(script)
    position = ledger.start + round(share * (ledger.end - ledger.start))
    cut, onward = ledger.next_trim(position)
    if position < cut < onward:
        assert ledger.next_trim(cut) == ledger.next_trim(onward - 1) == (cut, onward)
        assert ledger.next_trim(onward) != (cut, onward)


@given(st.floats(0.1, 5), st.floats(0.0, 5.0), st.floats(0, 3))
def test_silence_in_a_replay_is_shortened(voiced: float, silence: float, committed: float) -> None:
    """Pending silence above 0.4 s is cut to 0.3 s, of which 0.15 s stay on either side of voice."""
    first, second = 1.0 + voiced, 1.0 + voiced + silence
    ledger = ledger_of(second + 1, (1.0, first), (second, None), committed=min(committed, 1.0))
    assume(ledger.start <= at(1))
    position, sent = at(1.0), 0
    while position < at(second):
        cut, onward = ledger.next_trim(position)
        if cut <= position < onward:
            position = onward
            continue
        position += 1
        sent += 1
    kept = (sent - (at(first) - at(1.0))) / RATE
    gap = (at(second) - at(first)) / RATE
    assert kept == pytest.approx(0.3 if gap > 0.4 else gap, abs=1.1 / RATE)


# --- case by case


def test_speech_that_leaves_the_window_is_lost() -> None:
    """Of the audio that leaves the window, pending voice is lost and silence is not."""
    ledger = ledger_of(20, (1.0, 3.0), (4.0, 5.0), committed=1.5)
    assert ledger.push(at(4.5), RATE) == ((at(1.5), at(3)), (at(4), at(4.5)))
    assert (ledger.start, ledger.watermark) == (at(4.5), at(4.5))


def test_committed_audio_is_not_lost() -> None:
    """Audio that leaves the window after it was committed is not reported."""
    ledger = ledger_of(20, (1.0, 3.0), committed=3.5)
    assert ledger.push(at(3.5), RATE) == ()


def test_without_voice_activity_all_audio_may_be_speech() -> None:
    """All pending audio counts as lost, and nothing is committed as silence."""
    ledger = ledger_of(20, vad_enabled=False)
    ledger.commit_silence(ledger.end)
    assert ledger.watermark == 0
    assert not ledger.has_pending_speech()
    assert ledger.next_trim(5) == (at(20), at(20))
    assert ledger.last_voice_end(at(3)) == at(3)
    assert ledger.push(at(4), RATE) == ((0, at(4)),)


def test_committed_audio_is_kept_for_the_lookback() -> None:
    """Two seconds before the watermark stay, so that a replay can begin before a word."""
    ledger = ledger_of(10, committed=8)
    assert ledger.start == at(6)
    ledger.commit(at(99))
    assert ledger.watermark == ledger.end


@pytest.mark.parametrize(
    ("segment", "committed", "pending"),
    [
        ((1.0, 1.3), 0.0, True),
        ((1.0, 1.2), 0.0, False),
        ((1.0, 2.0), 1.4, True),
        ((1.0, 2.0), 1.6, False),
        ((1.0, 2.0), 2.0, False),
        ((1.0, None), 0.0, True),
        ((4.9, None), 0.0, False),
    ],
)
def test_which_voice_is_pending(
    segment: tuple[float, float | None], committed: float, pending: bool
) -> None:
    """A segment of its own is pending from 0.25 s on, a remainder from 0.5 s on."""
    ledger = ledger_of(5, segment, committed=committed)
    assert ledger.has_pending_speech() is pending
    assert (ledger.first_pending() is not None) is pending


@pytest.mark.parametrize(
    ("segments", "committed", "position", "pending"),
    [
        ([(1.0, 2.0)], 0.0, 1.0, False),
        ([(1.0, 2.0)], 0.0, 1.2, False),
        ([(1.0, 2.0)], 0.0, 1.25, True),
        ([(1.0, 2.0)], 1.4, 1.85, False),
        ([(1.0, 2.0)], 1.4, 1.9, True),
        ([(1.0, 2.0), (3.0, 4.0)], 2.0, 3.0, False),
        ([(1.0, 2.0), (3.0, None)], 2.0, 4.0, True),
    ],
)
def test_which_voice_is_pending_before_a_position(
    segments: list[tuple[float, float | None]], committed: float, position: float, pending: bool
) -> None:
    """Only voice before the position counts, which may be a part of a segment."""
    assert (
        ledger_of(5, *segments, committed=committed).has_pending_speech_before(at(position))
        is pending
    )
    assert not ledger_of(
        5, *segments, committed=committed, vad_enabled=False
    ).has_pending_speech_before(at(position))


def test_pauses() -> None:
    """A pause is a little behind the end of pending speech, but before the next speech."""
    ledger = ledger_of(9, (1.0, 2.0), (2.1, 3.0), (4.0, 4.2), (5.0, 6.0), (7.0, None))
    assert pauses(ledger) == [at(2.1), at(3.15), at(6.15)]
    ledger.commit(at(2.8))
    assert pauses(ledger) == [at(6.15)]


def pauses(ledger: AudioLedger) -> list[int]:
    found, pause = [], ledger.next_pause(0)
    while pause is not None:
        found.append(pause)
        pause = ledger.next_pause(pause)
    return found


@given(steps)
def test_a_pause_is_never_in_speech(script: list[tuple[str, int]]) -> None:
    """A connection is never flushed in the middle of a segment."""
    ledger, voice = AudioLedger(POLICY, vad_enabled=True), list[tuple[int, int | None]]()
    for step in script:
        apply(ledger, voice, *step)
    for pause in pauses(ledger):
        assert pause > ledger.watermark
        assert not any(s < pause < (ledger.end if e is None else e) for s, e in voice)


def test_pending_speech_of_a_given_length() -> None:
    """A caller may give the length of a remainder that counts as pending."""
    ledger = ledger_of(5, (1.0, 2.0), committed=1.7)
    assert ledger.has_pending_speech(at_least=0.3)
    assert not ledger.has_pending_speech(at_least=0.31)


def test_a_short_remainder_waits_for_its_grace() -> None:
    """It is committed once a connection has processed two seconds more."""
    ledger = ledger_of(10, (1.0, 2.0), committed=1.8)
    ledger.commit_silence(at(3.9))
    assert ledger.watermark == at(1.8)
    ledger.commit_silence(at(4.1))
    assert ledger.watermark == at(2.1)


def test_a_short_segment_waits_for_its_grace() -> None:
    """The silence before it is committed meanwhile."""
    ledger = ledger_of(10, (5.0, 5.2))
    ledger.commit_silence(at(7.1))
    assert ledger.watermark == at(4.85)


def test_a_short_remainder_waits_for_pending_segments() -> None:
    """Its words may come with the final of the next segment."""
    ledger = ledger_of(20, (1.0, 2.0), (2.5, 4.0), committed=1.8)
    ledger.commit_silence(at(20))
    assert ledger.watermark == at(1.8)


def test_silence_is_committed_after_its_grace() -> None:
    """A connection may still have words for voice that the detector missed."""
    ledger = ledger_of(10)
    ledger.commit_silence(0)
    assert ledger.watermark == 0
    ledger.commit_silence(at(10))
    assert ledger.watermark == at(8)


def test_segments() -> None:
    """The ledger finds segments by position, and measures the silence since the last one."""
    ledger = ledger_of(10, (1.0, 2.0), (4.0, None))
    assert ledger.first_pending() == Segment(at(1), at(2))
    assert [ledger.segment_start(at(s)) for s in (0.5, 1.5, 2.0, 3.0, 4.0, 9.0)] == [
        None,
        at(1),
        None,
        None,
        at(4),
        at(4),
    ]
    assert [ledger.last_voice_end(at(s)) for s in (0.5, 1.5, 3.0, 4.0, 9.0)] == [
        0,
        at(1.5),
        at(2),
        at(2),
        at(9),
    ]
    assert [ledger.last_speech_end(at(s)) for s in (0.5, 1.5, 2.0, 9.0)] == [0, 0, at(2), at(2)]
    assert ledger.speaking
    assert ledger.silence_duration == 0.0
    ledger.speech_ended(at(9))
    assert ledger.silence_duration == 1.0


def test_silence_from_the_beginning() -> None:
    """Without any speech the whole stream is silence."""
    assert AudioLedger(POLICY, vad_enabled=True).silence_duration == 0.0
    assert ledger_of(3).silence_duration == 3.0


def test_segments_never_overlap() -> None:
    """Segments that a detector pads into each other are clipped."""
    ledger = ledger_of(5, (1.0, 2.0), (1.9, 1.95), (1.9, 3.0))
    assert ledger.voiced_samples(0, at(5)) == at(2)


def test_flushes() -> None:
    """A flush is found at its place while its audio is kept; two at one place are one."""
    ledger = ledger_of()
    ledger.add_flush()
    ledger.push(at(3), RATE)
    ledger.add_flush()
    ledger.add_flush()
    assert flushes(ledger) == [0, at(3)]
    assert ledger.next_flush(at(3)) is None
    ledger.push(at(18), RATE)
    assert flushes(ledger) == [at(3)]


def test_seconds_before_the_first_frame() -> None:
    """Before the first frame sets the rate, every position is 0 s."""
    ledger = AudioLedger(POLICY, vad_enabled=True)
    assert ledger.seconds(5) == 0.0
    assert ledger.samples(5.0) == 0
    assert ledger_of(1).seconds(at(0.5)) == 0.5


def test_it_shows_its_state() -> None:
    """The repr shows the positions, the rate, the flushes and the number of segments."""
    ledger = ledger_of(5, (1.0, 2.0), committed=3)
    ledger.add_flush()
    assert repr(ledger) == (
        "AudioLedger(start=100, watermark=300, end=500, rate=100, flushes=[500], segments=1)"
    )


@pytest.mark.parametrize(("samples", "rate"), [(-1, RATE), (1, 0), (1, RATE + 1)])
def test_impossible_audio_is_refused(samples: int, rate: int) -> None:
    """A negative length and another rate are errors of the caller."""
    with pytest.raises(AssertionError):
        ledger_of(1).push(samples, rate)


def test_impossible_speech_is_refused() -> None:
    """Speech that starts twice, or ends without a start, is an error of the caller."""
    ledger = ledger_of(1)
    with pytest.raises(AssertionError, match="without having started"):
        ledger.speech_ended(5)
    ledger.speech_started(5)
    with pytest.raises(AssertionError, match="twice"):
        ledger.speech_started(6)


@pytest.mark.parametrize(
    ("position", "pause"),
    [(2.1, 1.5), (2.0, 1.5), (3.5, 1.5), (0.4, None), (4.2, None), (1.5, None)],
)
def test_the_pause_around_a_position(position: float, pause: float | None) -> None:
    """It lasts from the last voice that had ended to the next that begins."""
    ledger = ledger_of(6.0, (1.0, 2.0), (3.5, 4.0))
    assert ledger.pause_after(at(position)) == pause


def test_known_noise_after_the_watermark() -> None:
    """Known noise ends before the first other voice, and before the position asked for."""
    ledger = ledger_of(10.0)
    for start, is_noise in ((1, True), (3, True), (5, False), (7, True)):
        ledger.speech_started(start * RATE)
        ledger.speech_ended((start + 1) * RATE).is_known_noise = is_noise
    assert ledger.known_noise_through(0) == 0
    assert ledger.known_noise_through(3 * RATE) == 2 * RATE
    assert ledger.known_noise_through(10 * RATE) == 4 * RATE
    assert ledger.unexplained_voice(0, 10 * RATE) == ((5 * RATE, 6 * RATE),)
