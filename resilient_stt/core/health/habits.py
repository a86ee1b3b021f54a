"""What the connections of a provider have shown of how it behaves, as all streams share it.

Theory of operation
===================

LiveKit's capabilities are promises of the plugin. `interim_results` is the one that costs most if
it is not kept: a provider that is expected to give interim transcripts, and gives none, looks dead
in each long sentence. So what a plugin promises counts only once its connections have shown it.
Until then, and if they never do, the provider is watched like one that gives finals only.

An interim transcript shows something only while the speech that it is about goes on. Some providers
give all of them after the end of a turn (OpenAI's realtime models), where they are as good as a
final. And a provider may give the first one of a sentence soon and the next ones seldom
(AssemblyAI's Universal-3: 0.75 s, then every 3 s). So what counts is how long speech waited for
text, and that shows only where one interim transcript follows another.

What our table or the user says of a provider (`ProviderTraits.interims_certain`) needs no proof.

Some plugins never end a stream whose input has ended (Soniox's, ElevenLabs', OpenAI's realtime
models). Whoever has ended one ends all, unless something is wrong; who has only been given up has
nothing to be waited for once all words are told.

And some give no final of the last words when their input ends: they tell their server nothing
(OpenAI's, Soniox's), or do not wait for its answer (Gladia's). If another connection had the words,
that was seen.
"""

from __future__ import annotations

from collections import deque

from ..policy import WatchdogPolicy

MAX_WAITS = 50
"""Texts that are remembered. It bounds memory, and for how long one long wait is remembered: 50
texts come within about a minute of speech."""


class ProviderHabits:
    """What is learned of one provider."""

    def __init__(self) -> None:
        self._waits: deque[float] = deque(maxlen=MAX_WAITS)
        """Seconds that speech waited for text."""
        self._longest_wait = 0.0
        """The longest of them."""
        self.refused_languages: set[str] = set()
        """Tags that its plugin does not take."""
        self._ends: bool | None = None
        """Whether it ends a stream after its input; `None` before that was seen."""
        self.loses_tails = False
        """Whether it was seen to leave out the last words of an input that had ended."""
        self._shown = 0.0
        """Seconds of speech in whose midst interim transcripts followed other text."""

    def __repr__(self) -> str:
        return f"ProviderHabits(shown={self._shown}, longest={self._longest_wait})"

    @property
    def has_given_text(self) -> bool:
        """Whether it has transcribed any speech."""
        return bool(self._waits)

    @property
    def never_ends(self) -> bool:
        """Whether its streams were seen to stay open after their input had ended."""
        return self._ends is False

    def stream_ended(self) -> None:
        """Note that a stream ended by itself after its input."""
        self._ends = True

    def stream_stayed_open(self) -> None:
        """Note that a stream that had told all words was given up after its input."""
        self._ends = bool(self._ends)

    def tail_was_lost(self) -> None:
        """Note that another connection had last words that one of its own left out."""
        self.loses_tails = True

    def refuses(self, language: str) -> bool:
        """Note that its plugin does not take a language; return whether that is news."""
        is_news = language not in self.refused_languages
        self.refused_languages.add(language)
        return is_news

    def text_came(self, wait: float, *, in_speech: bool) -> None:
        """Note text that came `wait` seconds after the provider had processed the speech.

        `in_speech`: it is an interim transcript, the speech goes on, and other text of the same
        speech came before.
        """
        self._waits.append(wait)
        self._longest_wait = max(self._waits)
        self._shown += wait if in_speech else 0.0

    def interim_timeout(self, policy: WatchdogPolicy) -> float | None:
        """Return how many seconds of speech may pass without text; `None`: as many as it takes."""
        if self._shown < policy.min_interims_shown:
            return None
        return max(policy.no_interim_timeout, policy.interim_wait_factor * self._longest_wait)
