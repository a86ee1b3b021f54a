"""Draw `docs/failover.svg`: a failover in the middle of a word, as a recording has it.

    python scripts/failover_picture.py          # plays the call and writes the picture
    python scripts/failover_picture.py --check  # exit status 1 if the picture is another one

The call is that of `resilient-stt demo --fast --fault down`, cut to its first two sentences: the
published plugins, fake servers, virtual time. All times and words in the picture are the
recording's.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from html import escape
from itertools import pairwise
from pathlib import Path

from livekit.agents.utils import http_context

from resilient_stt import ResilientSTT
from resilient_stt.recording.document import RecordedFinal, RecordingDocument
from resilient_stt.testing import (
    Drop,
    FakeCartesia,
    FakeDeepgram,
    ReferenceSpeech,
    Refuse,
    from_,
    play,
    run_virtual,
)
from resilient_stt.testing.harness.logs import no_logging

PICTURE = Path(__file__).parents[1] / "docs" / "failover.svg"
TORN = 16
"""The word in which the connection drops: "Thursday"."""
SPEECH = ReferenceSpeech.load().excerpt(0, 1)

# -- the call


def recorded() -> RecordingDocument:
    """Play the call, and return its recording."""
    random.seed(0)  # the waits between two attempts are drawn
    with tempfile.TemporaryDirectory() as folder, no_logging():
        run_virtual(_call(folder))
        (path,) = Path(folder).glob("*.json")
        document: RecordingDocument = json.loads(path.read_text(encoding="utf-8"))
    return document


async def _call(folder: str) -> None:
    faults = [Drop(at_word=TORN, part=0.5, connections={0}), Refuse(connections=from_(1))]
    async with (
        http_context.open(),
        FakeCartesia(faults=faults) as cartesia,
        FakeDeepgram() as deepgram,
        ResilientSTT([cartesia.stt(), deepgram.stt()], record=folder) as transcriber,
    ):
        await play(transcriber, SPEECH.padded(1.0))


# -- the picture

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1c2b33",
    "faint": "#56646b",
    "speech": "#dfe7ea",
    "first": "#1f7a6d",
    "second": "#3557a8",
    "onbar": "#ffffff",
    "bad": "#b3261e",
    "kept": "#7a5b00",
    "secondink": "#3557a8",
    "firstink": "#1f7a6d",
}
DARK = {
    "paper": "#151d22",
    "ink": "#e3ebee",
    "faint": "#a3b1b8",
    "speech": "#33434b",
    "first": "#1f7a6d",
    "second": "#3f62b8",
    "onbar": "#ffffff",
    "bad": "#ff9d94",
    "kept": "#e6c15c",
    "secondink": "#a5bdff",
    "firstink": "#6fd0c0",
}
"""Colors by what they are for, in the reader's light and dark scheme."""
ON = {"onbar": ("first", "second"), "ink": ("paper", "speech")} | dict.fromkeys(
    ("faint", "bad", "kept", "secondink", "firstink"), ("paper",)
)
"""What each color of text stands on."""
LEFT, SECOND = 150, 92
"""Where the first second begins, and how many pixels one is wide."""
WIDTH, HEIGHT = 1050, 392


def drawn(document: RecordingDocument) -> str:
    """Draw the call of a recording."""
    first = document["connections"][0]
    second = document["connections"][-1]
    dropped, start = first["closed"], second["replayed"][0][0]
    before, after = document["finals"]
    again = [w for w in SPEECH.words if start <= w.start and w.end <= before["end"] + 0.01]
    kept = f"{dropped - start:.1f} s"
    names = [document["providers"][n]["name"].capitalize() for n in (0, 1)]
    end = SPEECH.words[-1].end + 1.0
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" class="paper"/>',
        *(
            f'<text x="16" y="{y}" font-weight="600">{text}</text>'
            for y, text in ((51, "The caller says"), (127, names[0]), (213, names[1]))
        ),
        '<text x="16" y="321" font-weight="600">Your agent gets</text>',
        *_sentences(),
        _bar("first", 0, dropped, 104, "serves"),
        f'<path d="M{x(dropped) - 7} 114 l14 14 m0 -14 l-14 14" class="bad line wide"/>',
        _text(x(dropped) + 16, 120, f"{dropped:.2f} s: drops the connection,", "bad"),
        _text(x(dropped) + 16, 137, "and refuses the next one", "bad"),
        f'<path d="M{x(start)} 72 V88 H{x(dropped)} V72" class="kept line"/>',
        _text(x(start) + 4, 84, f"the last {kept} are kept", "kept small"),
        f'<path d="M{x(dropped)} 24 V104" class="bad line thin dashed"/>',
        f'<path d="M{x(dropped)} 142 V182" class="kept line dashed"/>',
        f'<path d="M{x(dropped) - 5} 180 h10 l-5 9 z" class="kept"/>',
        _bar("second", dropped, end, 190, f"gets the {kept} at once, then what follows"),
        _text(
            x(dropped) + 10,
            246,
            f"“{escape(' '.join(w.text for w in again).rstrip('.'))}” comes again: trimmed",
            "secondink small",
        ),
        *_final(before, "first", 138, names[0]),
        *_final(after, "second", 224, names[1]),
        *_axis(end),
    ]
    said = (
        f"{names[0]} transcribes the first sentence and drops the connection in the middle of the "
        f"word {SPEECH.words[TORN].text}. The last {kept} are sent again to {names[1]}, which "
        "transcribes the whole second sentence. The words that it heard again are trimmed."
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'aria-labelledby="title text" font-family="system-ui, sans-serif" font-size="14">',
            '<title id="title">A failover in the middle of a word</title>',
            f'<desc id="text">{said}</desc>',
            f"<!-- made by python scripts/{Path(__file__).name} -->",
            f"<style>{_style()}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def x(seconds: float) -> int:
    """Where a time of the audio is."""
    return round(LEFT + SECOND * seconds)


def _style() -> str:
    dark = "".join(f".{name}{{fill:{color}}}" for name, color in DARK.items())
    lines = "".join(f".line.{name}{{stroke:{{}}}}" for name in ("bad", "kept", "faint"))
    lines += "".join(f".line.{name}ink{{stroke:{{}}}}" for name in ("first", "second"))
    stroked = ("bad", "kept", "faint", "firstink", "secondink")
    light_lines = lines.replace("{}", "%s") % tuple(LIGHT[name] for name in stroked)
    dark_lines = lines.replace("{}", "%s") % tuple(DARK[name] for name in stroked)
    light = "".join(f".{name}{{fill:{color}}}" for name, color in LIGHT.items())
    return (
        f"text{{fill:{LIGHT['ink']}}}{light}{light_lines}"
        ".line{fill:none;stroke-width:2}.wide{stroke-width:4}.dashed{stroke-dasharray:5 4}"
        ".dotted{stroke-width:1;stroke-dasharray:2 4}.thin{stroke-width:1}.small{font-size:12px}"
        f"@media(prefers-color-scheme:dark){{text{{fill:{DARK['ink']}}}{dark}{dark_lines}"
        ".line{fill:none}}"
    )


def _text(at: int, y: int, text: str, kind: str, rest: str = "") -> str:
    return f'<text x="{at}" y="{y}" class="{kind}"{rest}>{text}</text>'


def _bar(kind: str, start: float, end: float, y: int, text: str) -> str:
    width = x(end) - x(start)
    bar = f'<rect x="{x(start)}" y="{y}" width="{width}" height="34" rx="4" class="{kind}"/>'
    return bar + _text(x(start) + 10, y + 22, text, "onbar")


def _sentences() -> list[str]:
    """A box for each sentence, where it is spoken."""
    words = SPEECH.words
    breaks = [n for n, (a, b) in enumerate(pairwise(words), 1) if b.start - a.end > 0.5]
    drawn = []
    for begin, end in pairwise([0, *breaks, len(words)]):
        first, last = words[begin], words[end - 1]
        width = x(last.end) - x(first.start)
        text = escape(" ".join(word.text for word in words[begin:end]))
        fit = f' textLength="{width - 16}" lengthAdjust="spacingAndGlyphs"'
        drawn.append(
            f'<rect x="{x(first.start)}" y="28" width="{width}" height="34" rx="4" class="speech"/>'
            + _text(x(first.start) + 8, 50, text, "ink small", fit)
        )
    return drawn


def _final(final: RecordedFinal, kind: str, y: int, name: str) -> list[str]:
    """A final where it comes, in three lines, and a line down from its provider."""
    at, words = x(final["at"]), final["text"].split()
    half = len(words) // 2
    lines = (
        f"{final['at']:.2f} s, from {name}:",
        f"“{escape(' '.join(words[:half]))}",
        f"{escape(' '.join(words[half:]))}”",
    )
    end = ' text-anchor="end"'
    return [
        f'<path d="M{at} {y} V290" class="{kind}ink line dotted"/>',
        f'<rect x="{at - 3}" y="290" width="6" height="52" class="{kind}"/>',
        *(_text(at - 11, 302 + 18 * n, line, "ink", end) for n, line in enumerate(lines)),
    ]


def _axis(end: float) -> list[str]:
    drawn = [f'<path d="M{LEFT} 364 H{x(end)}" class="faint line thin"/>']
    for second in range(int(end) + 1):
        drawn.append(f'<path d="M{x(second)} 360 v8" class="faint line thin"/>')
        middle = ' text-anchor="middle"'
        drawn.append(_text(x(second), 383, f"{second} s", "faint small", middle))
    return drawn


def main(arguments: list[str]) -> int:
    """Write the picture, or say whether it is another one."""
    picture = drawn(recorded())
    if "--check" in arguments:
        return int(PICTURE.read_text(encoding="utf-8") != picture)
    PICTURE.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
