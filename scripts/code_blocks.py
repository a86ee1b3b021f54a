"""Write the Python blocks of the documentation as modules, for mypy: `nox -s types` runs it.

    python scripts/code_blocks.py FOLDER

A module is named for its page and line, and its lines have the numbers that they have in the page.
Blocks with tests are left out: `tests/test_code_blocks.py` runs those.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
"""The pages whose blocks are run or checked."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
ASSUMED = {
    "AgentServer": "from livekit.agents import AgentServer",
    "AgentSession": "from livekit.agents import AgentSession",
    "JobContext": "from livekit.agents import JobContext",
    "JobProcess": "from livekit.agents import JobProcess",
    "RedisHealth": "from resilient_stt import RedisHealth",
    "ResilientSTT": "from resilient_stt import ResilientSTT",
    "cartesia": "from livekit.plugins import cartesia",
    "deepgram": "from livekit.plugins import deepgram",
    "mine": "from livekit.plugins import deepgram as _any; mine = _any.STT()",
    "stt": "from resilient_stt import ResilientSTT as _Ours; stt = _Ours()",
}
"""What the README's shorter blocks take for granted. Those of docs/ are complete."""
LENIENT = '# mypy: disable-error-code="var-annotated"'
"""`session = AgentSession(...)` is what LiveKit's own documentation writes."""


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: Path
    line: int
    """The number of its first line in the page."""
    language: str
    """As the fence says; empty for output."""
    text: str

    @property
    def name(self) -> str:
        """The page and the line: `quick-start:12`."""
        return f"{self.page.stem}:{self.line}"

    @property
    def is_test(self) -> bool:
        """Whether pytest would run it."""
        return self.language == "python" and "def test_" in self.text


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of code of a page."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start(2)) + 1, match[1], match[2])


def module(block: Block) -> str:
    """The source of a Python block with what it takes for granted, at the lines of its page."""
    if block.page.name != "README.md":
        return "\n" * (block.line - 1) + block.text
    names = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    bound |= {alias.asname or alias.name for alias in _imported(block.text)}
    needed = sorted({node.id for node in names} - bound)
    assumed = "; ".join(ASSUMED[name] for name in needed if name in ASSUMED)
    return f"{LENIENT}\n{assumed}" + "\n" * (block.line - 2) + block.text


def _imported(text: str) -> Iterator[ast.alias]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from node.names


def main(folder: Path) -> None:
    """Write the modules into a folder, which has no others then."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    for page in PAGES:
        for block in blocks(page):
            if block.language == "python" and not block.is_test:
                name = re.sub(r"\W", "_", f"block_{block.name}")
                (folder / f"{name}.py").write_text(module(block), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
