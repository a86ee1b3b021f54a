"""Private members of LiveKit are used in one module, and older versions of LiveKit work."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import stt

import resilient_stt
from resilient_stt import ResilientSTT
from resilient_stt.livekit import compat

from ..support.fakes import FakeSTT, collect, frames, says, texts

PACKAGE = Path(resilient_stt.__file__).parent
FAKES = PACKAGE / "testing" / "fakes"
REDIRECTED = FAKES / "google.py", FAKES / "azure.py"
"""The fakes that replace what a plugin takes no option for: its client, or its region."""
SOURCES = {
    str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path not in (Path(compat.__file__), *REDIRECTED)
}

OVERRIDDEN = {
    "_metrics_monitor_task",  # else audio is counted twice
    "_push_conversation_item",
    "_recognize_impl",  # abstract
    "_run",  # abstract
    "_update_session_keyterms",
}
"""Members of LiveKit's that our subclasses define, for LiveKit to call; we call none of them."""

FOREIGN = {
    "_exit",  # of `os`
}
"""Others that are neither LiveKit's nor ours."""


PUBLIC = {"_replace", "_getframe"}
"""Names with an underscore that the standard library documents."""


def private(name: object) -> bool:
    is_private = isinstance(name, str) and name.startswith("_") and not name.startswith("__")
    return is_private and name not in PUBLIC


def members(source: str) -> Iterator[str]:
    """Names with a leading underscore that the classes of a source define."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                yield name
            case ast.Attribute(ast.Name("self" | "made"), name, ast.Store()):
                yield name
            case ast.AnnAssign(ast.Name(name)):
                yield name


LIVEKITS = {
    name
    for of in (stt.STT, stt.RecognizeStream)
    for name in (*members(inspect.getsource(of)), *vars(of))
    if private(name)
}
"""Of its STTs and streams."""

OURS = {name for source in SOURCES.values() for name in members(source) if private(name)}


def breaches(source: str) -> list[str]:
    """Where a source uses a member of another object whose name has a leading underscore."""
    tree = ast.parse(source)
    heirs = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and is_heir(n)]
    found = [node for node in ast.walk(tree) if is_foreign(node)]
    found += [node for heir in heirs for node in ast.walk(heir) if is_inherited(node)]
    found += [member for heir in heirs for member in heir.body if is_override(member)]
    return [ast.unparse(node).splitlines()[0] for node in found]


def is_foreign(node: ast.AST) -> bool:
    """Whether a member of another object is used, by name or through `getattr` and the like."""
    match node:
        case ast.Attribute(ast.Name("self" | "cls")):
            return False
        case ast.Attribute(_, name) if private(name):
            return name in LIVEKITS | OVERRIDDEN or name not in OURS | FOREIGN
        case ast.Call(ast.Name("getattr" | "setattr" | "hasattr"), [_, name, *_]):
            return is_private_text(name)
    return False


def is_inherited(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(ast.Name("self" | "cls"), name):
            return name in LIVEKITS
    return False


def is_override(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
            return name in LIVEKITS - OVERRIDDEN
    return False


def is_private_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value) | ast.JoinedStr([ast.Constant(value), *_]):
            return private(value)
    return False


def is_heir(node: ast.ClassDef) -> bool:
    """Whether a class derives from LiveKit's STT or stream classes, by the names of its bases."""
    bases = " ".join(map(ast.unparse, node.bases))
    return "STT" in bases or "RecognizeStream" in bases or "SpeechStream" in bases


@pytest.mark.parametrize("module", SOURCES)
def test_private_members_are_used_in_compat_only(module: str) -> None:
    """Only `livekit.compat` uses private members of LiveKit."""
    assert breaches(SOURCES[module]) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(provider): provider._opts",
        "def f(provider, name): getattr(provider, f'_{name}')",
        "def f(provider): hasattr(provider, '_opts')",
        "def f(provider): provider._update_session_keyterms([])",
        "class A(stt.RecognizeStream):\n def f(self): self._input_ch.close()",
        "class A(STT[str]):\n def __init__(self): self._label = ''",
        "class A(STT[str]):\n def _run(self): super()._recognize_impl()",
        "class A(stt.RecognizeStream):\n async def _main_task(self): pass",
    ],
)
def test_a_breach_is_noticed(source: str) -> None:
    """The check above finds what it must find."""
    assert breaches(source)


def test_overridden_members_are_livekits() -> None:
    """Each listed member exists in the newest LiveKit, so that its name is not ours to choose."""
    if not hasattr(stt.STT, "metrics_metadata"):
        pytest.skip("an older LiveKit")
    assert OVERRIDDEN <= LIVEKITS & OURS


class Older(FakeSTT):
    """A provider of a LiveKit without keyterms, chat context and flushes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("keyterms", "chat_context", "manual_flush"):
            vars(self.capabilities).pop(name, None)


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove what the oldest LiveKit lacks."""
    old = {"streaming", "interim_results", "diarization", "aligned_transcript", "offline_recognize"}
    monkeypatch.setattr(compat, "_NAMES", frozenset(old))
    for name in ("keyterms", "chat_context", "manual_flush"):
        monkeypatch.delattr(stt.STTCapabilities, name, raising=False)
    for name in ("metrics_metadata", "_update_session_keyterms", "_push_conversation_item"):
        monkeypatch.delattr(stt.STT, name, raising=False)


@pytest.mark.usefixtures("older")
async def test_an_older_livekit() -> None:
    """A stream and its labels work with the oldest LiveKit."""
    made = ResilientSTT([Older(says("hello"))])
    able = made.capabilities
    assert (able.keyterms, able.chat_context, able.manual_flush) == (False, False, False)
    assert made.metrics_metadata == {"model_name": "fake-1", "model_provider": "Fake"}
    item: Any = object()
    made._update_session_keyterms(["LiveKit"])
    made._push_conversation_item(item)
    async with made.stream() as stream:
        stream.push_frame(frames()[0])
        stream.end_input()
        assert texts(await collect(stream)) == ["hello"]
    await made.aclose()


@pytest.mark.usefixtures("older")
async def test_what_an_older_livekit_does_not_know_is_kept() -> None:
    """Capabilities that an older LiveKit does not know are kept as attributes."""
    made = ResilientSTT([FakeSTT(manual_flush=True, keyterms=True, chat_context=True)])
    able = made.capabilities
    assert (able.keyterms, able.chat_context, able.manual_flush) == (True, True, True)
    await made.aclose()
