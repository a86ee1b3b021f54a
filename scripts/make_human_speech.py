"""Join the recording of a human voice that ships with `resilient_stt.testing`.

Run `python scripts/make_human_speech.py FOLDER [DIRECTORY]`. FOLDER is `test/data/librivox` of
https://github.com/cmusphinx/pocketsphinx: five utterances of chapter 1 of Jane Austen's "Sense and
Sensibility", read for LibriVox, with alignments of their words. It writes `austen.ogg` (Opus) and
`austen.json` (the words) to DIRECTORY, by default `resilient_stt/testing/data`, where
`austen-license.txt` says whose they are.
"""

from __future__ import annotations

import json
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

DATA = Path(__file__).parent.parent / "resilient_stt" / "testing" / "data"
RATE = 16_000
BIT_RATE = 32_000
NAME = "sense_and_sensibility_01_austen_64kb-{}"
SENTENCES = {
    "0870": "And Mr. John Dashwood had then leisure to consider how much there might be prudently "
    "in his power to do for them.",
    "0880": "He was not an ill-disposed young man,",
    "0890": "unless to be rather cold-hearted and rather selfish is to be ill-disposed:",
    "0920": "Had he married a more amiable woman, he might have been made still more respectable "
    "than he was:",
    "0930": "he might even have been made amiable himself;",
}
"""What is spoken in each utterance, as the book writes it."""


def aligned(folder: Path, number: str) -> Iterator[dict[str, Any]]:
    """Yield the words of an utterance as they are written, with seconds of the utterance."""
    found = json.loads((folder / f"{NAME.format(number)}.json").read_text())["w"]
    spoken = [word for word in found if not word["t"].startswith("<")]
    if number == "0920":
        del spoken[5]  # the transcription that was aligned has "a amiable"
    for text in SENTENCES[number].split():
        parts = [spoken.pop(0) for _ in text.split("-")]
        end = parts[-1]["b"] + parts[-1]["d"]
        yield {"text": text, "start": parts[0]["b"], "end": round(end, 3)}
    assert not spoken


def encode(samples: np.ndarray[Any, np.dtype[np.int16]], path: Path) -> None:
    """Write samples as Opus."""
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = RATE
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, layout="mono", bit_rate=BIT_RATE)
        for given in (frame, None):
            for packet in stream.encode(given):
                container.mux(packet)


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else DATA
    pieces: list[np.ndarray[Any, np.dtype[np.int16]]] = []
    words: list[dict[str, Any]] = []
    sentences: list[list[int]] = []
    for number in SENTENCES:
        start = sum(map(len, pieces)) / RATE
        with wave.open(str(folder / f"{NAME.format(number)}.wav")) as file:
            assert (file.getframerate(), file.getnchannels()) == (RATE, 1)
            pieces.append(np.frombuffer(file.readframes(file.getnframes()), "<i2"))
        first = len(words)
        for word in aligned(folder, number):
            shifted = {name: round(start + word[name], 3) for name in ("start", "end")}
            words.append({"text": word["text"], **shifted})
        sentences.append([first, len(words)])
    encode(np.concatenate(pieces), target / "austen.ogg")
    lines = ",\n".join(f"    {json.dumps(word)}" for word in words)
    head = f'  "language": "en-US",\n  "sentences": {sentences},\n  "words": ['
    about = f"{{\n{head}\n{lines}\n  ]\n}}\n"
    (target / "austen.json").write_text(about)


if __name__ == "__main__":
    main()
