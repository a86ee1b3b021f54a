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
        self._shown = 0.0
        """Seconds of speech in whose midst interim transcripts followed other text."""

    def __repr__(self) -> str:
        return f"ProviderHabits(shown={self._shown}, longest={max(self._waits, default=0)})"

    def text_came(self, wait: float, *, in_speech: bool) -> None:
        """Note text that came `wait` seconds after the provider had processed the speech.

        `in_speech`: it is an interim transcript, the speech goes on, and other text of the same
        speech came before.
        """
        self._waits.append(wait)
        self._shown += wait if in_speech else 0.0

    def interim_timeout(self, policy: WatchdogPolicy) -> float | None:
        """Return how many seconds of speech may pass without text; `None`: as many as it takes."""
        if self._shown < policy.min_interims_shown:
            return None
        return max(
            policy.no_interim_timeout, policy.interim_wait_factor * max(self._waits, default=0.0)
        )
