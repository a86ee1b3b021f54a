"""Policies: every tunable that steers a decision, with its default.

Theory of operation
-------------------

A policy is a small frozen dataclass. Its fields are documented one by one, and a configuration file
takes the same fields under the same names, with the same text in its JSON schema. Pass other values
to change a default:

    ResilientSTT(policies=Policies(retry=RetryPolicy(outage_limit=120)))

All durations are seconds. "Voice" is what local voice activity detection reports as speech. Where a
default comes from a measurement, a schedule of the simulator or a promise of the README, its
docstring says so. A default without a source was chosen by judgment, from what LiveKit Agents
1.8.9, Cartesia and Deepgram document and do.

A constant that is not a field bounds memory, CPU time or the value of a field, absorbs rounding, is
a fact of a protocol, or defines when two words are the same (`transcript.tokens`). Such constants
stand in the module that uses them, with a comment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated

Seconds = Annotated[float, "s"]
"""A duration. A configuration file takes it as a number of seconds or with a unit (`200ms`)."""


_MAX_VALUE = 1e15
"""The largest value of any field. Up to here a float tells whole numbers apart."""
MINUTE = 60.0
"""Seconds of hedged audio that are summed up as one entry (`hedging.budget`). It bounds memory: to
60 entries for the default of `WatchdogPolicy.hedge_audio_window`."""


class _Checked:
    """Refuses negative, infinite, huge and non-numeric values in any field of a policy."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            name = f"{type(self).__name__}.{f.name}"
            # No math.isfinite(): it raises for an int that no float can hold, such as one of 400
            # digits. Nor is such a value repeated: Python refuses to print the longest.
            if isinstance(value, int | float) and value > _MAX_VALUE:
                raise ValueError(f"{name} must be a number of at most {_MAX_VALUE:g}")
            if not (isinstance(value, int | float) and value >= 0):
                raise ValueError(f"{name} must be a number of 0 or more, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy(_Checked):
    """When a provider is reconnected to, and how long an outage may last.

    Raises:
        ValueError: a value is out of range.
    """

    connect_timeout: Seconds = 1.5
    """Seconds a connection attempt may take. Passed to every plugin that streams as
    `conn_options.timeout`."""
    utterance_timeout: Seconds = 10.0
    """The same, in seconds, for a plugin that cannot stream: some apply it to all that they need
    for one utterance. LiveKit's own default (`DEFAULT_API_CONNECT_OPTIONS`)."""
    reconnect_budget: int = 3
    """Reconnects to one provider that a stream may spend before it has to earn them back."""
    budget_refill_interval: Seconds = 5.0
    """Seconds that a connection has to work to earn one reconnect back. Only working time counts,
    not elapsed time or finals, so a provider that keeps dropping connections is left."""
    outage_limit: Seconds = 60.0
    """Seconds without any working provider after which the stream raises `APIConnectionError`."""
    end_input_limit: Seconds = 20.0
    """The same, in seconds, once the input has ended: nobody listens for a minute after the caller
    has hung up. Long enough for one more attempt after the longest pause (`rejected_interval`,
    15 s), and for an outage of 12 s, the longest that the simulator draws. It begins anew with each
    text, and what a provider has still to process is granted on top."""
    wait_min: Seconds = 0.1
    """Base, in seconds, of the waits between connection attempts in an outage. A wait is drawn at
    random up to this bound, which doubles with every failure in a row."""
    wait_max: Seconds = 0.5
    """Upper bound, in seconds, of those waits. Text should come within 1 s after a provider is
    back; connecting takes up to 0.3 s and the first text 0.2 s, so the wait may take 0.5 s."""
    max_concurrent_attempts: int = 3
    """Connections to one provider that may be tried at the same time in an outage. With one only,
    an attempt that hangs would delay the next."""
    wait_floor: Seconds = 0.25
    """Lower bound, in seconds, of those waits; half of `wait_max` if that is less. It bounds how
    often one provider is tried in a long outage. The first attempts of an outage come sooner."""
    recovery_attempts: int = 5
    """Attempts that `recognize()` makes in the background to reach a provider that failed. Each
    sends the same buffer again."""
    max_queued_audio: Seconds = 20.0
    """Seconds of audio that may wait in a plugin for a peer that reads none of it. With more, the
    connection counts as dropped: otherwise 2 MB a minute pile up while the caller is silent. More
    than a replay's `burst` and what is sent while a plugin connects."""
    idle_reopen_interval: Seconds = 5.0
    """Seconds after a connection was opened at which audio without words may open the next, if the
    provider has closed it normally and it owed no words. Words open it at once. Providers close
    idle connections after 10 s (Deepgram) to 3 min (Cartesia)."""
    rejected_interval: Seconds = 15.0
    """Seconds between two attempts in an outage on a provider that rejected the request itself
    (`bad_request`). The same request will hardly ever get another answer."""
    rate_limited_interval: Seconds = 5.0
    """The same, in seconds, on a provider that is `rate_limited` and does not say for how long. If
    it does (`Retry-After`), that is obeyed."""
    server_error_interval: Seconds = 2.0
    """Seconds between two attempts in an outage on a provider that reported an error of its own
    (`server`), such as status 500. Not for the statuses of a gateway whose server is away (502 to
    504): it may be back at any moment, as after a refused connection or a timeout."""
    session_retry_interval: Seconds = 0.2
    """Seconds until a connection is tried again that was refused because of another one of ours
    that is still closing, at a provider that allows few sessions. Closing takes one round trip, or
    as long as the server keeps it waiting."""
    session_release_limit: Seconds = 2.0
    """Seconds after the first such refusal from which on it is a failure like any other. A plugin's
    stream is closed for good within 1.5 s."""
    min_attempt_interval: Seconds = 0.1
    """Seconds between two attempts on one provider in an outage at least, whatever wait is drawn.
    Attempts that fail at once must not follow each other without a pause."""

    def __post_init__(self) -> None:
        super(RetryPolicy, self).__post_init__()
        if self.connect_timeout == 0:
            raise ValueError(
                "RetryPolicy.connect_timeout must be more than 0, or no connection succeeds"
            )
        if self.max_concurrent_attempts < 1:
            raise ValueError(
                "RetryPolicy.max_concurrent_attempts must be 1 or more, or no outage ends"
            )
        if self.session_retry_interval == 0:
            raise ValueError(
                "RetryPolicy.session_retry_interval must be more than 0, "
                "or refused connections follow each other without a pause"
            )
        if self.min_attempt_interval == 0:
            raise ValueError(
                "RetryPolicy.min_attempt_interval must be more than 0, "
                "or attempts that fail at once follow each other without a pause"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy(_Checked):
    """When a provider gets no traffic, and how it proves that it works again.

    Raises:
        ValueError: a value is out of range.
    """

    consecutive_failures: int = 3
    """Failures in a row, within `window`, that open the breaker."""
    window: Seconds = 30.0
    """Seconds that an outcome (a failure, or a second with text) counts."""
    minimum_calls: int = 5
    """Outcomes within `window` that are needed before `failure_rate_threshold` applies."""
    failure_rate_threshold: float = 0.5
    """Share of failures (0 to 1) among the outcomes within `window` that opens the breaker."""
    success_interval: Seconds = 1.0
    """Text counts as at most one successful outcome in this many seconds, however many streams get
    text. Text comes many times a second; counted each time, failures would never reach the
    threshold."""
    slow_call_threshold: int = 3
    """Slow finals in a row that open the breaker."""
    break_duration: Seconds = 5.0
    """Seconds that a breaker stays open the first time. Each further time takes twice as long."""
    max_break_duration: Seconds = 300.0
    """Seconds that a breaker stays open at most."""
    jitter: float = 0.2
    """Share (0 to 1) by which break durations differ at random between processes, so that the
    processes of a fleet do not all return at the same moment."""
    max_retry_after: Seconds = 3600.0
    """Seconds that a server's `Retry-After` may ask for at most. A longer wait is cut to this."""
    backoff_reset_after: Seconds = 60.0
    """Seconds of health that take one doubling of the break duration back."""
    auth_cooldown: Seconds = 300.0
    """Seconds between two attempts on a provider that refused the account (`auth`, `quota`)."""
    probe_timeout: Seconds = 15.0
    """Seconds that one probe may take. Another stream or process may probe after that."""
    success_threshold: int = 2
    """Probes in a row that must give words in time before the breaker closes."""
    min_retry_after: Seconds = 1.0
    """Seconds that a `rate_limited` provider is left alone at least, if it asks for a shorter wait.
    `Retry-After` counts whole seconds; with a wait of milliseconds probes would never pause."""
    probe_grant_timeout: Seconds = 0.5
    """Seconds within which a stream must start a probe that the shared store has granted. It asks
    with every frame of audio, so it does so at once if it still wants to; if not, the grant is
    returned."""
    probe_refusal_cooldown: Seconds = 1.0
    """Seconds before the shared store is asked for a probe again after it has refused one. Another
    process probes meanwhile."""
    max_probe_start_delay: Seconds = 1.0
    """Seconds into an utterance at which a probe may still begin. With a longer replay before it,
    nobody could say whether its final comes in time. The voice detector must report speech sooner
    than this, or no probe begins."""
    max_store_wait: Seconds = 0.05
    """Seconds that a stream may wait, before its first connection, for what a shared store knows of
    the providers. Audio is buffered meanwhile. A store that does not answer in this time costs it
    once in a process, and is not waited for again until it has answered as fast. Over a local
    network Redis answers within 1 to 5 ms."""

    def __post_init__(self) -> None:
        super(BreakerPolicy, self).__post_init__()
        if self.jitter >= 1:
            raise ValueError("BreakerPolicy.jitter must be less than 1")
        if self.max_probe_start_delay == 0:
            raise ValueError(
                "BreakerPolicy.max_probe_start_delay must be more than 0, or no probe begins"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPolicy(_Checked):
    """How much audio is kept for a replay, when it is finished with, and how it is sent again.

    Raises:
        ValueError: a value is out of range.
    """

    window: Seconds = 60.0
    """Seconds of audio that are kept for a replay (1.9 MB at 16 kHz). Speech that grows older
    without a final is reported as lost (`AudioLost`)."""
    lookback: Seconds = 2.0
    """Seconds of committed audio that are kept too, so that a replay can begin before a whole word.
    Two words fit in 2 s."""
    hold_back: Seconds = 0.5
    """The newest seconds of silence, which a replay never leaves out: speech begins before a voice
    detector reports it."""
    trim_silence_over: Seconds = 0.4
    """Silence of more seconds than this is shortened inside a replay."""
    trim_silence_to: Seconds = 0.3
    """Seconds to which such silence is shortened. Half of it stays on either side of speech."""
    min_pending_remainder: Seconds = 0.5
    """Seconds of voice after a final, in the same stretch of speech, from which another final is
    expected. Less is taken for the inexact end of the last word."""
    min_pending_speech: Seconds = 0.25
    """Seconds of voice in a stretch of speech of its own from which a final is expected. "No" is a
    word and takes about that long."""
    commit_grace: Seconds = 2.0
    """Seconds of audio that a connection must have processed after silence, or after voice too
    short for a word, before that is finished with. The final of a short last word may still be
    under way, or that of a whisper that the voice detector missed; if the connection dropped
    meanwhile, the word would be lost."""
    remainder_grace: Seconds = 10.0
    """The same, in seconds, for a remainder between `min_pending_speech` and
    `min_pending_remainder`. If the connection has stalled there, the next speech reveals it, and
    until then the remainder is kept for a replay."""
    untimed_final_reach: Seconds = 6.0
    """Speech that ended more than this many seconds before a final without times is covered by that
    final for certain. A provider may cover several stretches of speech in one final, and none of
    them has to wait that long for it."""
    untimed_interim_reach: Seconds = 3.5
    """The same, in seconds, for an interim transcript of the words of such a final. Interim
    transcripts come within a second; one that takes `watchdog.no_interim_timeout` (2.5 s) makes its
    connection suspect."""
    max_speech_rate: float = 25.0
    """Letters per second of voice that nobody exceeds over a sentence. In 70,000 words of earnings
    calls, 1 in 1000 stretches of 20 words was faster than 23, and the median was 14."""
    min_speech_rate: float = 6.0
    """Letters per second of voice below which nobody stays over a sentence. In the same calls, 1 in
    1000 stretches of 20 words was slower than 6.5."""
    speech_rate_slack: Seconds = 0.5
    """Seconds by which a text may take less or more time than these rates say: a few words may be
    spoken much faster, and voice activity goes on before and after them."""
    word_time_tolerance: Seconds = 0.3
    """Seconds by which two providers may disagree about when a word was spoken."""
    min_word_overhang: Seconds = 0.05
    """Seconds by which a word must reach beyond the committed audio to count as possibly new, if
    its middle lies before the end of that audio."""
    vad_padding: Seconds = 0.15
    """Seconds that local voice activity may go on after the last word. A final without times covers
    a stretch of speech that ends at most this much later than the audio the final is about."""
    max_chunk: Seconds = 0.2
    """Seconds of audio that a replay sends in one piece at most, and never less than 0.05 s. Each
    piece costs a decision and a frame, and some services refuse messages of more than 25 kB."""
    max_time_error: Seconds = 0.5
    """Seconds by which the times of a transcript may lie outside the audio that was sent, because
    recognizers round. With times further outside, it counts as one without times."""
    max_backward_step: Seconds = 1.0
    """Seconds by which a word may begin before the one ahead of it. With a larger step back, the
    transcript counts as one without word times."""
    clock_restart_gap: Seconds = 1.0
    """Seconds before the end of the last final. Words that begin earlier than that show that the
    times of the connection have begun anew: its plugin has reconnected by itself. Far more than
    word times of one connection ever overlap."""
    max_utterance_lead: Seconds = 1.0
    """Seconds into an utterance at which its first word begins at most, where a provider counts
    the times of each utterance from its own start. Batch providers are sent 0.5 s of the silence
    before (the `prefix_padding_duration` of LiveKit's VAD)."""
    handover_window: Seconds = 10.0
    """Seconds after it was pushed within which pending audio of a stream that gave up is taken over
    by the next stream of the same call. LiveKit's session opens that 0.5 s later
    (`_STT_RECONNECT_INTERVAL`, 1.8.9). Long enough for two sentences; nobody expects an answer to
    what was said before. Older audio is reported as lost (`AudioLost`). 0: nothing is taken
    over."""
    loss_report_step: Seconds = 1.0
    """Seconds of lost speech after which a loss that still goes on is reported (`AudioLost`). It
    bounds only the number of events: every lost second is reported in the end."""

    def __post_init__(self) -> None:
        super(ReplayPolicy, self).__post_init__()
        if self.window < 1:
            # A frame that is longer than the window would be gone before it is sent.
            raise ValueError("ReplayPolicy.window must be 1 s or more")
        if self.min_speech_rate == 0 or self.max_speech_rate < self.min_speech_rate:
            raise ValueError(
                "ReplayPolicy.min_speech_rate must be more than 0 and at most max_speech_rate"
            )
        if self.clock_restart_gap == 0:
            raise ValueError(
                "ReplayPolicy.clock_restart_gap must be more than 0, "
                "or two words that overlap look like a new clock"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogPolicy(_Checked):
    """What the silence of a connection means while local voice activity detects speech.

    A p99 is the delay that 99 % of the provider's last finals did not exceed.

    Raises:
        ValueError: a value is out of range.
    """

    no_interim_timeout: Seconds = 2.5
    """Seconds without text, during speech, after which a provider of interim transcripts is
    suspected to have stalled."""
    no_interim_p99_factor: float = 3.0
    """That timeout is at least this many times the provider's p99."""
    min_interims_shown: Seconds = 3.0
    """Seconds of speech in whose midst interim transcripts must have followed each other before
    that timeout applies to a provider of which only its plugin says that it gives them. Before, it
    is watched like a provider of finals only. Transcripts of a turn before come within less."""
    interim_wait_factor: float = 1.5
    """Of such a provider, that timeout is at least this many times the longest wait for text that
    it was seen to recover from."""
    min_speech_before_stall: Seconds = 0.8
    """Seconds of voice without text that are needed before a missing interim transcript means
    anything."""
    final_timeout: Seconds = 1.2
    """Seconds after the end of speech, or after a flush, at which a final is overdue."""
    final_p99_factor: float = 2.0
    """That timeout is at least this many times the provider's p99."""
    max_speech_without_text: Seconds = 15.0
    """Seconds of voice without any text after which a provider of finals only is suspected. Has no
    effect if `replay.window` is shorter."""
    max_speech_before_first_text: Seconds = 8.0
    """The same, in seconds, if it has given no text at all in this process, and only its plugin
    says that it gives interim transcripts: it may as well be deaf. Few people speak longer in one
    breath."""
    empty_final_threshold: int = 3
    """Finals without text in a row, during speech, after which a provider is suspected."""
    max_speech_in_empty_final: Seconds = 3.0
    """Seconds of voice in one final without text from which that single final is suspicious. No
    cough takes that long."""
    min_skipped_speech: Seconds = 1.5
    """Seconds of voice before a final that no final covers, from which a final may have been lost.
    People say "um" for less, and providers leave that out."""
    min_skipped_speech_with_interims: Seconds = 0.25
    """The same, in seconds, if interim transcripts had words there."""
    skipped_final_wait: Seconds = 4.0
    """Seconds that the later final is held back at most while a hedge is asked about the skipped
    speech. If interim transcripts had words there, the wait is longer by the time that two other
    connections need to process all of it."""
    slow_final_threshold: Seconds = 3.0
    """A final that takes more seconds than this is slow, whatever the provider's p99."""
    hedging: bool = True
    """Whether a hedge (a connection to another provider) checks a suspected stall before the stream
    switches. If off, silence alone causes the switch, and noise can move a call from provider to
    provider."""
    final_hedge_fraction: float = 0.5
    """Share (0 to 1) of a final's timeout after which the hedge is opened ahead of time, if the
    other provider is healthy."""
    no_interim_hedge_fraction: float = 0.7
    """The same for a missing interim transcript. It is larger because interim transcripts come
    about once a second, and the first one later if its first word is long."""
    hedge_audio_share: float = 0.05
    """Share (0 to 1) of the audio of the last `hedge_audio_window`, over all streams of a process,
    that may be sent to hedges in vain. Providers bill for it."""
    hedge_audio_allowance: Seconds = 60.0
    """Seconds of hedge audio that are always allowed. A process that has just started has no audio
    yet to take a share of, and must notice a second fault as fast as the first."""
    min_hedge_interval: Seconds = 30.0
    """Seconds after which a stream may hedge once more although the share is used up. Without that,
    a dead provider would never be noticed."""
    max_deadline_multiplier: float = 8.0
    """How many times longer noise can make a stream's timeouts. The next final resets them."""
    known_noise_distance: float = 5.0
    """How alike two sounds are, in dB, that count as noise of one kind: the distance between their
    mean levels and the deviations of these. A sound that is not twice as far from all voice with
    words is not known to be noise. Bursts of babble were up to 3.7 dB apart, coughs 4, and speech
    7 or more from either."""
    min_known_noise: Seconds = 1.0
    """Seconds of one kind of noise in which two providers have found no words, from which that kind
    is known. 0.6 s may be a word that both have missed."""
    known_noise_factor: float = 8.0
    """Seconds of voice that pass without a hedge, because they sound like known noise, for each
    second in which two providers have found no words. After that it is asked about again."""
    flush_at_end_of_speech: bool = True
    """Whether providers with slow endpointing are flushed when speech ends locally."""
    working_after: Seconds = 5.0
    """Seconds after which a connection counts as having worked although it gave no text."""
    connect_grace: Seconds = 0.5
    """Seconds after `retry.connect_timeout` at which a connection that did not fail counts as
    connected."""
    drain_timeout: Seconds = 3.0
    """Seconds of silence from a connection after the end of input, after which it counts as
    finished."""
    told_all_timeout: Seconds = 0.5
    """The same, in seconds, for a connection that has told all words, of a provider that was seen
    to leave its streams open for ever. Not less than its p99."""
    end_of_speech_silence: Seconds = 0.7
    """Seconds of local silence after which the stream sends END_OF_SPEECH in place of a connection
    that failed in the middle of an utterance, or of a provider that reports no turns."""
    end_of_speech_hold: Seconds = 5.0
    """Seconds without text for which END_OF_SPEECH of a provider is held back at most while local
    voice activity goes on. After that the provider is right, and the voice is noise. Recognizers
    that give interim transcripts rarely (AssemblyAI's U3) give one every 3 s."""
    made_up_final_hold: Seconds = 0.2
    """Seconds for which a FINAL in mid-speech is held back that has the words of the last interim
    transcript, if the plugin makes such a FINAL up when its connection drops
    (`finalizes_when_dropped`). The error follows at once, or after the closing handshake with a
    server that is far away."""
    closing_silence: Seconds = 2.0
    """Seconds of silence that are sent behind the last words of the input to a provider that makes
    no final of them at its end (`finalizes_at_end`). Soniox waits for 2 s of it at most."""
    min_latency_samples: int = 5
    """Finals that must have been timed before a provider's p99 is used."""
    interim_word_jitter: Seconds = 0.1
    """Seconds by which a provider may move a word from one interim transcript to the next."""
    max_interim_word_shift: Seconds = 0.5
    """Seconds by which a provider may move a word between an interim transcript and the final. The
    same text further away is another word."""
    min_compared_words: int = 3
    """Words that a text without times must have before it can be told from another text. In scripts
    without spaces it must have twice as many characters."""
    min_processing_rate: float = 1.25
    """Multiple of real time at which a recognizer processes, at least, audio that is sent faster.
    Deadlines grow by the audio that it has still to process. Seen in production: Deepgram 1.25,
    Cartesia 1.5."""
    last_word_margin: Seconds = 0.25
    """Seconds before the end of speech within which the last word may have ended. Local voice
    activity goes on for `replay.vad_padding` after a word, and the end of speech is a little
    later."""
    max_unanswered_speech: Seconds = 8.0
    """Seconds of voice for which no provider gives a word, in a stream in which there were words
    before, that count as an outage and not as noise, if no provider is known to hear. Each such
    outage doubles the limit, up to `max_deadline_multiplier` times, until there are words."""
    max_unanswered_speech_at_start: Seconds = 20.0
    """The same, in seconds, in a stream in which there were no words yet. It is longer because a
    call may begin with music, and nothing shows then that the providers hear."""
    hedge_audio_window: Seconds = 3600.0
    """Seconds of the past that `hedge_audio_share` and `hedge_audio_allowance` are about, counted
    by the minute."""

    def __post_init__(self) -> None:
        super(WatchdogPolicy, self).__post_init__()
        if self.max_deadline_multiplier < 1:
            raise ValueError("WatchdogPolicy.max_deadline_multiplier must be 1 or more")
        if self.min_compared_words < 1:
            raise ValueError("WatchdogPolicy.min_compared_words must be 1 or more")
        if self.min_processing_rate < 1:
            raise ValueError(
                "WatchdogPolicy.min_processing_rate must be 1 or more, "
                "or the backlog of live audio grows without end"
            )
        if self.hedge_audio_window < MINUTE:
            raise ValueError(
                f"WatchdogPolicy.hedge_audio_window must be {MINUTE:g} s or more, "
                "because hedged audio is counted by the minute"
            )
        for name in ("final_hedge_fraction", "no_interim_hedge_fraction", "hedge_audio_share"):
            if getattr(self, name) > 1:
                raise ValueError(f"WatchdogPolicy.{name} must be at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailbackPolicy(_Checked):
    """When a stream returns to a preferred provider that has recovered.

    It does so between two turns only, never in the middle of speech.

    Raises:
        ValueError: a value is out of range.
    """

    enabled: bool = True
    """Whether streams return at all. If off, streams make no probes either."""
    min_dwell: Seconds = 30.0
    """Seconds that a stream stays on the fallback at least."""
    min_interval: Seconds = 120.0
    """Seconds between two returns of a stream at least."""
    turn_silence: Seconds = 0.7
    """Seconds of local silence, with no final pending, that make a turn boundary."""
    drain_timeout: Seconds = 0.5
    """Seconds that the flushed old connection has to give words that the voice detector missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy(_Checked):
    """When a language that a provider reports changes the route.

    Raises:
        ValueError: a value is out of range.
    """

    consecutive_finals: int = 2
    """Finals in a row in another language that change the route."""
    min_words: int = 6
    """Words from which a single final in another language changes the route."""
    max_hold: Seconds = 1.5
    """Seconds that the final which reveals another language is held back at most, if the providers
    of that language are to transcribe the sentence again (`retranscribe`)."""
    characters_per_word: float = 1.5
    """Characters that count as one word in scripts without spaces between words, such as
    Chinese."""

    def __post_init__(self) -> None:
        super(RoutingPolicy, self).__post_init__()
        if self.characters_per_word == 0:
            raise ValueError("RoutingPolicy.characters_per_word must be more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """All policies of one `ResilientSTT`.

    Raises:
        ValueError: a section is not of its policy's class.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    replay: ReplayPolicy = field(default_factory=ReplayPolicy)
    watchdog: WatchdogPolicy = field(default_factory=WatchdogPolicy)
    failback: FailbackPolicy = field(default_factory=FailbackPolicy)
    routing: RoutingPolicy = field(default_factory=RoutingPolicy)

    @property
    def connected_after(self) -> float:
        """Seconds after which a connection that did not fail counts as connected."""
        return self.retry.connect_timeout + self.watchdog.connect_grace

    def __post_init__(self) -> None:
        for name, kind in _SECTIONS.items():
            value = getattr(self, name)
            # An object of another class with the same fields serves as well.
            alike = all(hasattr(value, f.name) for f in fields(kind))  # type: ignore[arg-type]
            if isinstance(value, type) or not alike:
                given = value if isinstance(value, type) else type(value)
                raise ValueError(
                    f"Policies.{name} must be a {kind.__name__}(...), not {given.__name__}"
                )


_SECTIONS: dict[str, type[_Checked]] = {
    "retry": RetryPolicy,
    "breaker": BreakerPolicy,
    "replay": ReplayPolicy,
    "watchdog": WatchdogPolicy,
    "failback": FailbackPolicy,
    "routing": RoutingPolicy,
}


MIN_CHUNK = 0.05
"""Seconds of audio that a replay sends at a time at least. LiveKit's plugins cut audio into frames
of this length, so smaller pieces would save nothing. A fact of those plugins, so not a field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(_Checked):
    """How fast a provider takes a replay: `burst` seconds at once, then `rate` times real time.

    Raises:
        ValueError: a value is out of range.
    """

    burst: Seconds = 5.0
    """Seconds of audio that are sent at once."""
    rate: float = 1.5
    """Multiple of real time at which the rest is sent."""

    def __post_init__(self) -> None:
        super(Pace, self).__post_init__()
        if self.burst < MIN_CHUNK:
            raise ValueError(f"Pace.burst must be {MIN_CHUNK} s or more")
        if self.rate < 1:
            raise ValueError(
                "Pace.rate must be 1 or more, or a replay never catches up with live audio"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTraits:
    """What is known of a provider. Built-in tables give the values, and users may override them."""

    name: str
    """The provider's name in routes, events and logs."""
    pace: Pace = field(default_factory=Pace)
    """How fast it takes a replay."""
    interim_results: bool = False
    """Whether it gives interim transcripts, so that silence in mid-speech means something."""
    interims_certain: bool = True
    """Whether that is certain. If only its plugin says so, it is believed once the provider has
    given some."""
    interim_interval: Seconds = 0.0
    """Seconds of speech between two interim transcripts, at most, where that is more than a second
    or so. 0: they come as usual."""
    endpointing: Seconds = 0.0
    """Seconds of silence in which it ends an utterance, whatever was said; 0 if unknown. Then its
    final is due also if somebody speaks on."""
    manual_flush: bool = False
    """Whether it answers a flush with a final."""
    slow_endpointing: bool = False
    """Whether it waits long before it ends an utterance by itself. It is then flushed when speech
    ends locally."""
    final_timeout: Seconds = 1.2
    """Seconds after which a final is overdue while its p99 is not known."""
    end_of_turn_timeout: Seconds = 0.0
    """The same, in seconds, if the provider decides itself when a turn is over, and interim
    transcripts have covered the speech. 0: it does not decide."""
    ends_at_sent: bool = False
    """Whether the end that it gives without times of words is how much audio it had been sent, and
    not where the words end."""
    finalizes_at_end: bool = True
    """Whether it makes a final of its last words when their input ends. Otherwise it is sent
    silence first, so that it finds the end of the speech itself."""
    finalizes_when_dropped: bool = False
    """Whether its plugin passes the last interim transcript off as a FINAL when its connection
    drops in the middle of a turn. Such a FINAL has half a sentence."""
    language_detection: bool = False
    """Whether it reports the spoken language. It is then configured without one."""
    last_resort: bool = False
    """Whether it serves only while no other provider works: a recognizer in this process costs
    nothing, but hears worse than the vendors'. A stream leaves it at the first turn boundary after
    one probe of another provider has passed. The `failback` times do not apply."""
    key_variable: str = ""
    """The environment variable that holds its key, for messages; empty if unknown."""

    def language_hint(self, language: str) -> str:
        """The language tag to open a connection with; empty if the provider detects it itself."""
        return "" if self.language_detection else language
