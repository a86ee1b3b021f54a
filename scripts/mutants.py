"""Break the code on purpose, one named change at a time, and check that simulated calls notice.

Each mutant is one change in a copy of the package. A mutant that survives all simulated calls shows
that the simulator does not check what that code is for.

A mutant names what it changes by `Class.method`, `Class` or `function`, in any module of the
package: names of classes are unique in it (`tests/test_structure.py`). The change is one of

* `Replace`: the one piece of code that has a given structure becomes another;
* `ReplaceCase`: the same for the pattern of a `case`;
* `Drop`: the one statement that has a given structure does nothing;
* `Result`: the function returns something else.

Structure is compared as a syntax tree, with placeholders for what may be renamed or reformatted.

    python scripts/mutants.py [--schedules 1000] [--only NAME]
"""

from __future__ import annotations

import ast
import copy
import difflib
import fnmatch
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
PACKAGE = "resilient_stt"
PATIENCE = 300.0
"""Seconds for one mutant. A mutant that loops within one moment of virtual time never returns."""
SIMULATE = ("-m", "resilient_stt.testing.simulate")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
Bindings = dict[str, ast.AST]


class StaleMutant(Exception):
    """A mutant does not fit the code any more: what it changes is not there, or there twice."""


# -- structure


def _is_placeholder(name: str) -> bool:
    return name.startswith("_")


def matches(pattern: object, node: object, bindings: Bindings) -> bool:
    """Whether a syntax tree has the structure of a pattern.

    Names that begin with an underscore are placeholders. `_` stands for any expression; any other
    placeholder stands for the same expression wherever it occurs, and is added to `bindings`.
    """
    if isinstance(pattern, ast.Name) and _is_placeholder(pattern.id):
        if not isinstance(node, ast.expr):
            return False
        if pattern.id == "_":
            return True
        known = bindings.setdefault(pattern.id, node)
        return _same(known, node)
    if isinstance(pattern, ast.AST):
        # whether a name is read or written (`ctx`) is no part of the structure
        return type(pattern) is type(node) and all(
            matches(getattr(pattern, name, None), getattr(node, name, None), bindings)
            for name in pattern._fields
            if name != "ctx"
        )
    if isinstance(pattern, list):
        return (
            isinstance(node, list)
            and len(pattern) == len(node)
            and all(matches(one, other, bindings) for one, other in zip(pattern, node, strict=True))
        )
    return pattern == node


def _same(one: ast.AST, other: ast.AST) -> bool:
    return ast.unparse(one) == ast.unparse(other)


class _Fill(ast.NodeTransformer):
    """Puts what placeholders stand for in their places."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings

    def visit_Name(self, node: ast.Name) -> ast.AST:
        found = self._bindings.get(node.id)
        return node if found is None else copy.deepcopy(found)


@dataclass(frozen=True, slots=True)
class Scope:
    """A class or function that a mutant may change, and where it is."""

    path: Path
    module: ast.Module
    qualname: str
    node: Definition


def _find(scopes: Sequence[Scope], pattern: ast.AST) -> tuple[Scope, ast.AST, Bindings]:
    """Find the only node in `scopes` that has the structure, and what its placeholders stand for.

    Raises:
        StaleMutant: no node has it, or several.
    """
    found = []
    for scope in scopes:
        for node in ast.walk(scope.node):
            bindings: Bindings = {}
            if matches(pattern, node, bindings):
                found.append((scope, node, bindings))
    if len(found) != 1:
        places = "".join(f"\n  {scope.qualname}: {ast.unparse(node)}" for scope, node, _ in found)
        raise StaleMutant(f"{ast.unparse(pattern)!r} is there {len(found)} times, not once{places}")
    return found[0]


class _Exchange(ast.NodeTransformer):
    """Puts one node in the place of another, which may be anywhere."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _case(source: str) -> ast.pattern:
    match = ast.parse(f"match _:\n    case {source}:\n        pass").body[0]
    assert isinstance(match, ast.Match)
    return match.cases[0].pattern


# -- changes


@dataclass(frozen=True, slots=True)
class Replace:
    """The only expression with the structure of `pattern` becomes `replacement`."""

    pattern: str
    replacement: str

    def apply(self, scopes: Sequence[Scope]) -> Scope:
        scope, old, bindings = _find(scopes, _expression(self.pattern))
        _Exchange(old, _Fill(bindings).visit(_expression(self.replacement))).visit(scope.module)
        return scope


@dataclass(frozen=True, slots=True)
class ReplaceCase:
    """The only `case` with the pattern `pattern` gets the pattern `replacement`."""

    pattern: str
    replacement: str

    def apply(self, scopes: Sequence[Scope]) -> Scope:
        scope, old, _ = _find(scopes, _case(self.pattern))
        _Exchange(old, _case(self.replacement)).visit(scope.module)
        return scope


@dataclass(frozen=True, slots=True)
class Drop:
    """The only statement with the structure of `pattern` becomes `pass`."""

    pattern: str

    def apply(self, scopes: Sequence[Scope]) -> Scope:
        scope, old, _ = _find(scopes, ast.parse(self.pattern).body[0])
        _Exchange(old, ast.Pass()).visit(scope.module)
        return scope


_WRAPPER = """
def _mutate(original):
    def mutated(*args, **kwargs):
        result = original(*args, **kwargs)
        return {value}
    return mutated
"""


@dataclass(frozen=True, slots=True)
class Result:
    """The function returns `value` instead: an expression of its `result` and `args`.

    Whatever else the function does, it does all the same.
    """

    value: str

    def apply(self, scopes: Sequence[Scope]) -> Scope:
        if len(scopes) > 1:
            places = ", ".join(f"{scope.qualname} in {scope.path.name}" for scope in scopes)
            raise StaleMutant(f"there are {len(scopes)} such functions: {places}")
        scope = scopes[0]
        if isinstance(scope.node, ast.ClassDef):
            raise StaleMutant("is a class, not a function")
        decorators = {ast.unparse(decorator) for decorator in scope.node.decorator_list}
        if decorators - {"property"}:
            raise StaleMutant(f"has decorators: {', '.join(sorted(decorators))}")
        name = scope.qualname
        wrapped = f"property(_mutate({name}.fget))" if decorators else f"_mutate({name})"
        source = _WRAPPER.format(value=self.value) + f"{name} = {wrapped}"
        scope.module.body += ast.parse(source).body
        return scope


Change = Replace | ReplaceCase | Drop | Result


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of the code.

    Attributes:
        name: what is wrong with the code after the change.
        target: `Class.method`, `Class` or `function`, somewhere in the package; `*` stands for any
            part of a name.
        change: what to change in it.
        accents: whether the calls that must notice it are those whose providers write differently.
    """

    name: str
    target: str
    change: Change
    accents: bool = False


MUTANTS = (
    Mutant(
        "watermark a word too far",
        "Committer",
        Replace(
            "_ledger.commit(min(_samples(_end), _extent))",
            "_ledger.commit(min(_samples(_end + 0.6), _extent))",
        ),
    ),
    Mutant(
        "overlap is not trimmed",
        "OverlapTrimmer.__init__",
        Replace("bool(_) or _ < _", "False"),
    ),
    Mutant(
        "committed words are forgotten",
        "Committer",
        Drop("_.record(_, _, before=_)"),
    ),
    Mutant(
        "fencing off: a hedge is emitted at once",
        "FailoverEngine._take_event",
        ReplaceCase("Role.ACTIVE", "Role.ACTIVE | Role.HEDGE"),
    ),
    Mutant(
        "other options reopen the active connection alone",
        "FailoverEngine._reopen_for_options",
        Drop("_._renew(_, _)"),
    ),
    Mutant(
        "replay starts late",
        "open_connection",
        Replace(
            "replay_start(_ledger, _history)",
            "max(replay_start(_ledger, _history), _ledger.end - _ledger.samples(0.5))",
        ),
    ),
    Mutant(
        "replay cuts into the next word",
        "AudioLedger._trims",
        Replace("_segment.start - _half", "_segment.start + _half"),
    ),
    Mutant(
        "times of a replay without its cuts",
        "*",
        Replace(
            "_timeline.append(_start, _end)",
            "_timeline.append(_start * bool(_timeline.sent), _end)",
        ),
    ),
    Mutant(
        "breaker never closes",
        "Breaker",
        Drop("_(BreakerSignal.SUCCESS)"),
    ),
    Mutant(
        "ledger is not trimmed",
        "AudioLedger._forget",
        Drop("_start = max(_start, _)"),
    ),
    Mutant(
        "END is not balanced",
        "SpeechBalancer.end",
        Result("[]"),
    ),
    Mutant(
        "a stall is never suspected",
        "HedgeController._next_stall",
        Result("None"),
    ),
    Mutant(
        "held events are not emitted",
        "*",
        Replace("list(_.held_events)", "[]"),
    ),
    Mutant(
        "noise before the hedge had time",
        "HedgeController._hedge_due_at",
        Result("float('-inf')"),
    ),
    Mutant(
        "an outage is given up at once",
        "Outage.limit_at",
        Replace("self.since + self._retry.outage_limit", "self.since"),
    ),
    Mutant(
        "an outage is never tried again",
        "Outage",
        Replace(
            "_now >= _due and self._may_attempt(_provider, _now)",
            "_now >= _due and self._may_attempt(_provider, _now) and not self._reported",
        ),
    ),
    Mutant(
        "pending speech is committed as silence",
        "AudioLedger.commit_silence",
        Drop("_until = min(_until, _)"),
    ),
    Mutant(
        "the end of input is not passed on",
        "ConnectionPool.feed",
        Replace(
            "_pool.input_ended and _connection.sender.awaits_end",
            "_pool.input_ended and _connection.sender.awaits_end and not _connection.start",
        ),
    ),
    Mutant(
        "a missing tail is believed",
        "HedgeController._misses_words",
        Result("False"),
    ),
    Mutant(
        "stalls are suspected at the end only",
        "StallDetector.next_stall",
        Result("None"),
    ),
    Mutant(
        "a skipped final is not missed",
        "find_skipped*",
        Result("None"),
    ),
    Mutant(
        "a connection is left open",
        "HedgeOpener",
        Replace(
            "self._pool.close(_hedge, _reason, _now)",
            "setattr(_hedge, 'role', type(_hedge.role).PROBE)",
        ),
    ),
    Mutant(
        "silence is not accounted",
        "AudioLedger.commit_noise",
        Replace("self._commit(_to)", "0 * self._commit(_to)"),
    ),
    Mutant(
        "the audio of a promoted hedge is accounted twice",
        "ConnectionPool._account",
        Replace("sender.samples_sent - _before", "sender.samples_sent"),
    ),
    Mutant(
        "providers' clocks are not told apart",
        "ProviderConnection._to_connection_time",
        Replace("_time - _offset if _ >= _ else _time", "_time - _offset"),
    ),
    Mutant(
        "a word in another form is a new one",
        "is_similar",
        Result("args[0] == args[1]"),
        accents=True,
    ),
)


# -- applying


def _definitions(scope: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node, f"{prefix}{node.name}.")


def mutate(mutant: Mutant, package: Path) -> tuple[Path, str]:
    """Return the file below `package` that a mutant changes, and its source after the change.

    Raises:
        StaleMutant: the code does not hold what the mutant changes exactly once.
    """
    scopes: list[Scope] = []
    names: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        module = ast.parse(path.read_text(), str(path))
        for qualname, node in _definitions(module):
            names.add(qualname)
            # what `*` finds within a scope is found in that scope already
            inside = any(s.path == path and qualname.startswith(f"{s.qualname}.") for s in scopes)
            if fnmatch.fnmatchcase(qualname, mutant.target) and not inside:
                scopes.append(Scope(path, module, qualname, node))
    if not scopes:
        close = ", ".join(difflib.get_close_matches(mutant.target, names)) or "nothing like it"
        raise StaleMutant(f"{mutant.name}: {mutant.target} does not exist; there is {close}")
    try:
        changed = mutant.change.apply(scopes)
    except StaleMutant as error:
        raise StaleMutant(f"{mutant.name}: {mutant.target}: {error}") from None
    return changed.path, ast.unparse(ast.fix_missing_locations(changed.module))


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant.

    Attributes:
        seed: The seed of the call that broke a promise; -1 for a crash; None if it survived.
        promise: The promise that it broke, or the last line of the crash.
        seconds: How long the calls took.
    """

    seed: int | None
    promise: str
    seconds: float


def hunt(mutant: Mutant, schedules: int) -> Fate:
    """Simulate calls with the mutant until one breaks a promise.

    Raises:
        StaleMutant: the code does not hold what the mutant changes exactly once.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, PACKAGE)
        shutil.copytree(ROOT / PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        path, source = mutate(mutant, package)
        path.write_text(source)
        begun = time.monotonic()
        command = [sys.executable, *SIMULATE, "--schedules", str(schedules), "--no-shrink"]
        command += ["--accents"] * mutant.accents
        # `-m` looks for the package in the current folder first, and so finds the copy
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return Fate(-1, "a call hangs", PATIENCE)
        seconds = time.monotonic() - begun
    if done.returncode == 0:
        return Fate(None, "", seconds)
    seed = re.search(r"seed (\d+) breaks", done.stdout)
    if not seed:
        return Fate(-1, (done.stderr.strip().splitlines() or ["?"])[-1], seconds)
    promises = re.findall(r"^- (.*)$", done.stdout, re.MULTILINE)
    return Fate(int(seed[1]), promises[0] if promises else "", seconds)


def main(
    schedules: Annotated[int, typer.Option(min=1, help="Calls that a mutant may survive.")] = 1000,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only mutants whose names contain this.")
    ] = None,
) -> None:
    """Break the code on purpose. Exit status 1: a mutant survived. 2: a mutant is stale."""
    console = Console(width=120, highlight=False)
    mutants = [m for m in MUTANTS if not only or any(part in m.name for part in only)]
    stale = list(_stale(mutants))
    for message in stale:
        console.print(f"stale: {message}", markup=False, soft_wrap=True)
    if stale or not mutants:
        raise typer.Exit(2)
    progress = Console(stderr=True, highlight=False)
    table = Table("mutant", "caught by seed", "promise", "seconds", box=None)
    survivors = []
    for mutant in mutants:
        fate = hunt(mutant, schedules)
        caught = "survives" if fate.seed is None else "crash" if fate.seed < 0 else str(fate.seed)
        # all of them take minutes: the table comes at the end
        progress.print(f"{mutant.name}: {caught} after {fate.seconds:.0f} s", markup=False)
        table.add_row(mutant.name, caught, fate.promise[:60], f"{fate.seconds:.0f}")
        survivors += [mutant.name] if fate.seed is None else []
    console.print(table, markup=False)
    if survivors:
        console.print(f"not caught: {', '.join(survivors)}", markup=False)
        raise typer.Exit(1)


def _stale(mutants: list[Mutant]) -> Iterator[str]:
    for mutant in mutants:
        try:
            mutate(mutant, ROOT / PACKAGE)
        except StaleMutant as error:
            yield str(error)


if __name__ == "__main__":
    typer.run(main)
