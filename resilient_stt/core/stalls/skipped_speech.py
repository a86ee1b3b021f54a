"""Speech that a FINAL skips: a provider may lose one final and go on with the next.

Committing the next FINAL would commit the lost words with it, since it commits everything up to the
end of its last word. So a FINAL that skips speech is held until another connection, a hedge, has
transcribed the same audio (see `hedging.controller`).

But recognizers skip speech for good reasons, too: coughs, music, an "um". Holding a FINAL for each
of them would make every transcript late. A FINAL is therefore held for one of two reasons only:

* The connection itself had words there, in interim transcripts (`interims`).
* The voice is longer than any cough: `WatchdogPolicy.min_skipped_speech`. Voice within the FINAL
  counts as well, if its words are too few for it: nobody says "7" for five seconds.

The hedge's transcript decides: does it begin with words of the skipped speech, or with the words of
the FINAL? Times decide it where both have them, and the words themselves where not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..audio.spans import Spans, total
from ..messages import Word
from ..policy import WatchdogPolicy
from ..transcript.overlap import Utterance
from .opening_words import count_shared, distinctive_length, extra_words_before, opening_words


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedSpeech:
    """Voice before the first new word of a FINAL. Positions are session samples."""

    since: float
    """When the FINAL came, on the clock of `now`."""
    committed_through: int
    """The watermark when the FINAL came: where the skipped speech begins."""
    interims_through: int
    """Up to where it had interim transcripts; `end` if that is not known."""
    first_word_at: int
    """Where the first new word of the FINAL begins, at the latest, and the skipped speech ends."""
    end: int
    """Where the FINAL ends, at the latest."""
    final: Utterance
    """What of the FINAL is not committed."""
    voice: Spans
    """The voice in the skipped speech."""
    speech: float
    """How many seconds that is."""
    had_interims: bool
    """Whether the connection itself had words of it in interim transcripts."""

    def is_covered_by(
        self,
        transcript: Utterance,
        *,
        is_final: bool,
        word_time_tolerance: float,
        min_compared_words: int,
    ) -> bool | None:
        """Return whether another connection's transcript has words of the skipped speech.

        `transcript`: its first utterance that holds uncommitted words. `is_final`: it will not
        change any more. `word_time_tolerance`: seconds by which two providers disagree about when
        a word was spoken. `min_compared_words`: as in `WatchdogPolicy`. Returns `None` as long as
        the transcript is too short to decide.
        """
        mine, theirs = opening_words(self.final), opening_words(transcript)
        my_start, their_start = self.final.start, transcript.start
        if my_start is not None and their_start is not None:
            # The same first word at about the same time: the other one skips the speech as well.
            is_same_time = abs(their_start - my_start) <= word_time_tolerance
            if is_same_time and count_shared(mine[:1], theirs[:1]):
                return False
            # Another first word: the two may write the same word differently, so that it counts
            # as of the skipped speech only if it begins clearly earlier.
            return their_start < my_start - word_time_tolerance / 2
        # Without times the words alone decide: has the other transcript words before those of the
        # FINAL?
        distinctive = distinctive_length(mine, min_compared_words)
        # Any sentence may begin with "no": a FINAL of so few words is recognized in a transcript
        # only if that is complete, and not much longer.
        is_short = len(mine) < distinctive
        if is_short and len(theirs) > 2 * len(mine) + 1:
            return True
        mine = mine[:distinctive]
        if len(theirs) < len(mine) or (is_short and not is_final):
            return None
        # Nothing in common (None) is of the skipped speech; so are words before the common ones
        # (schedule lost-final-and-an-untimed-hedge).
        return extra_words_before(mine, theirs) != 0


def find_skipped_speech(
    ledger: AudioLedger,
    policy: WatchdogPolicy,
    new_words: Utterance,
    *,
    longest: float,
    interim_words: Sequence[Word],
    heard_through: int,
    begin: int = 0,
    now: float,
    multiplier: float,
) -> SkippedSpeech | None:
    """Return the speech that a FINAL skips, if that may hold words.

    `new_words`: what of the FINAL is not committed. `longest`: the most seconds of voice that it
    takes to say that. `interim_words`: the connection's own words that the FINAL skips
    (`InterimTracker.take_skipped`). `heard_through`: the session sample up to
    which the connection can have processed audio. `begin`: where voice may begin that was not asked
    about yet. `multiplier`: how much noise has stretched
    `min_skipped_speech`.
    """
    if not ledger.vad_enabled:
        return None  # it is not known what of the audio is voice
    watermark = ledger.seconds(ledger.watermark)
    interim_ends = [w.end for w in interim_words if (w.start + w.end) / 2 > watermark]
    had_interims = bool(interim_ends)
    # Word times may be far off, but no word lies beyond what the connection has processed.
    first_word_at = end = heard_through
    if new_words.start is not None and new_words.end is not None:
        first_word_at = min(ledger.samples(new_words.start), heard_through)
        end = min(ledger.samples(new_words.end), heard_through)
    elif not had_interims and new_words.end is None:
        # Without times the voice may be that of the FINAL itself.
        return None
    since = ledger.watermark if had_interims else max(begin, ledger.watermark)
    if new_words.start is None and new_words.end is not None and not had_interims:
        # All of the voice up to its end may be that of the FINAL, as far as its words go
        # (test_a_final_of_too_few_words).
        end = min(ledger.samples(new_words.end), heard_through)
        too_much = ledger.voiced_samples(since, end) - ledger.samples(longest)
        first_word_at = ledger.voice_end(since, too_much) or since
    # Words that were shown are words, whatever their voice sounds like.
    find_voice = ledger.voiced_spans if had_interims else ledger.unexplained_voice
    voice = find_voice(since, first_word_at)
    speech = ledger.seconds(total(voice))
    if had_interims:
        min_speech = policy.min_skipped_speech_with_interims
    else:
        min_speech = multiplier * policy.min_skipped_speech
    if speech < min_speech:
        return None
    interims_end = max(interim_ends, default=math.inf)
    return SkippedSpeech(
        since=now,
        committed_through=ledger.watermark,
        interims_through=end
        if math.isinf(interims_end)
        else min(ledger.samples(interims_end), end),
        first_word_at=first_word_at,
        end=end,
        final=new_words,
        voice=voice,
        speech=speech,
        had_interims=had_interims,
    )
