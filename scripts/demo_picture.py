"""Draw `docs/demo.svg`: what `resilient-stt demo` shows in a terminal when it has ended.

    python scripts/demo_picture.py

It plays the demo in virtual time, so the times differ from those of real time by milliseconds.
"""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from resilient_stt.cli.demo.candidates import OURS, compete
from resilient_stt.cli.demo.demo_run import DemoRun
from resilient_stt.cli.demo.live_view import SingleRunView
from resilient_stt.cli.demo.scenarios import SCENARIOS
from resilient_stt.testing import run_virtual
from resilient_stt.testing.harness.logs import no_logging

PICTURE = Path(__file__).parents[1] / "docs" / "demo.svg"
COLUMNS = 100
GREY, RED, GREEN, YELLOW = (133, 147, 154), (255, 123, 114), (126, 211, 133), (230, 193, 92)
BLUE, MAGENTA, CYAN, WHITE = (130, 170, 255), (214, 151, 255), (95, 200, 214), (227, 235, 238)
COLORS = [GREY, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE]
THEME = TerminalTheme((21, 29, 34), WHITE, COLORS, COLORS)
"""On dark ground, each color that a terminal has can be told from the others, and read."""


def drawn() -> str:
    """Play the demo, and return its last view as SVG."""
    random.seed(0)
    scenario = SCENARIOS["both"]
    run = DemoRun(scenario.speech(), "cartesia", None)
    with no_logging():
        run_virtual(compete(scenario, {OURS: run}, virtual=True, record=None))
    console = Console(
        record=True, width=COLUMNS, height=80, file=io.StringIO(), force_terminal=True
    )
    console.print(SingleRunView(scenario, run))
    svg = console.export_svg(title="resilient-stt demo", theme=THEME, unique_id="demo")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.S)  # fonts of another host


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
