"""Recorded human speech, for fake servers with a real recognizer: what is shipped, and your own.

The fake servers' own recognizer does not know these recordings: it transcribes nothing of them.
"""

from __future__ import annotations

import functools
from pathlib import Path

from ...local import Hypothesis
from ...local.word_times import with_times
from .reference import ReferenceSpeech, SpokenWord, decoded, shipped


@functools.cache
def human_speech() -> ReferenceSpeech:
    """Return the shipped recording of a human voice: 25 s of Jane Austen, read for LibriVox.

    Recording and text are in the public domain. The times of the words are those of an alignment.
    """
    return shipped("austen", "ogg")


def read_speech(path: str | Path, text: str, *, language: str = "en-US") -> ReferenceSpeech:
    """Return a recording of your own.

    Args:
        path: A file of any format that PyAV decodes. Of several channels the mean is taken.
        text: What is spoken in it, word for word. Words are separated by spaces.
        language: BCP 47 tag of all words.

    Returns:
        The recording as one sentence. The times of its words are estimates, so the delays and the
        errors of times in a score are rough.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It has no audio or is damaged, or `text` has no words.
    """
    if not text.split():
        raise ValueError("the text of a recording is what is spoken in it, and has no words here")
    try:
        samples = decoded(str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    estimated = with_times(Hypothesis(text), samples.tobytes()).words
    return ReferenceSpeech(
        name=Path(path).stem,
        language=language,
        samples=samples,
        words=tuple(SpokenWord(word.text, word.start, word.end) for word in estimated),
        sentences=(range(len(estimated)),),
    )
