"""The word error rate: how far a transcript of a real recognizer is from what was spoken."""

from __future__ import annotations

from .seam_score import edit_distances, tokens


def word_error_rate(spoken: str, transcript: str) -> float:
    """Return the words substituted, left out and added, as a share of the words spoken.

    Case and punctuation do not count, and a hyphen separates two words. A script without spaces is
    compared character by character. The rate may be above 1.

    Raises:
        ValueError: `spoken` has no words.
    """
    ideal, emitted = tokens(spoken), tokens(transcript)
    if not ideal:
        raise ValueError("there is no error rate of a speech without words")
    return int(edit_distances(ideal, emitted)[-1, -1]) / len(ideal)
