from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import resilient_stt.core.events

EVENTS = Path(resilient_stt.core.events.__file__)
CORE = EVENTS.parent

PURE = {
    "__future__",
    "array",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "math",
    "re",
    "typing",
    "unicodedata",
}
"""Modules of the standard library that know neither a clock nor a socket nor chance."""

WORLDLY = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}
"""Built-in functions that touch the world, or answer differently from run to run."""


def impurities(source: str, *, depth: int) -> list[str]:
    """List what a module of the core must not use.

    `depth`: how many dots a relative import may have and still stay inside the core.
    """
    return [
        f"line {node.lineno}: {what}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Name | ast.AsyncFunctionDef)
        for what in _impurities(node, depth)
    ]


def _impurities(node: ast.AST, depth: int) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (f"import {n.name}" for n in names if n.name not in PURE)
        case ast.ImportFrom(str(module), _, 0) if module not in PURE:
            yield f"from {module} import"
        case ast.ImportFrom(module, _, level) if level > depth:
            yield f"from {'.' * level}{module or ''} import"
        case ast.Name(name) if name in WORLDLY:
            yield name
        case ast.AsyncFunctionDef(name):
            yield f"async def {name}"


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.stem)
def test_core_is_pure(path: Path) -> None:
    """No module of the core imports or calls anything that touches the world."""
    assert impurities(path.read_text(), depth=len(path.relative_to(CORE).parts)) == []


def test_events_are_pure() -> None:
    """The public events, which the core makes, are as pure, and import nothing of the package."""
    assert impurities(EVENTS.read_text(), depth=0) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", "line 1: import time"),
        ("import dataclasses, random", "line 1: import random"),
        ("import asyncio.events", "line 1: import asyncio.events"),
        ("from time import monotonic", "line 1: from time import"),
        ("from datetime import datetime", "line 1: from datetime import"),
        ("from livekit import rtc", "line 1: from livekit import"),
        ("from importlib import import_module", "line 1: from importlib import"),
        ("from ..stream import ResilientStream", "line 1: from ..stream import"),
        ("from .. import observe", "line 1: from .. import"),
        ("def f():\n    import logging", "line 2: import logging"),
        ("__import__('time').time()", "line 1: __import__"),
        ("x = open", "line 1: open"),
        ("async def f(): ...", "line 1: async def f"),
    ],
)
def test_impurity_is_found(source: str, found: str) -> None:
    """The check finds what is forbidden, wherever it stands."""
    assert impurities(source, depth=1) == [found]


def test_purity_is_not_mistaken() -> None:
    """What the core needs is let through, but a sibling only where it may be imported."""
    source = (
        "from __future__ import annotations\n"
        "import math\n"
        "from collections.abc import Sequence\n"
        "from ..events import Event\n"
        "from .inputs import Word\n"
    )
    assert impurities(source, depth=2) == []
    assert impurities(source, depth=0) == [
        "line 4: from ..events import",
        "line 5: from .inputs import",
    ]


def test_core_is_imported_without_the_shell() -> None:
    """The core can be used alone: it loads neither LiveKit nor aiohttp, nor any other module."""
    modules = [
        ".".join(path.relative_to(CORE.parents[1]).with_suffix("").parts)
        for path in sorted(CORE.rglob("*.py"))
    ]
    script = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(json.loads(output))
    assert set(modules) <= loaded
    foreign = {name.partition(".")[0] for name in loaded} & {"aiohttp", "livekit", "structlog"}
    assert foreign == set()
    ours = {name for name in loaded if name.startswith("resilient_stt.")}
    assert {name for name in ours if not name.startswith("resilient_stt.core")} == set()
