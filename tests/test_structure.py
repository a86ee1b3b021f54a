"""The package's modules: which of them may import which, that no two share a name, and that the
tests which they name exist."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from resilient_stt.extras import IMPORTED

PACKAGE = Path(__file__).parents[1] / "resilient_stt"

CORE_ORDER = (
    ("policy",),
    ("events",),
    ("messages",),
    ("outbox",),
    ("audio",),
    ("accounts",),
    ("progress",),
    ("transcript",),
    ("health",),
    ("routing",),
    ("stalls",),
    ("connections",),
    ("hedging", "failover"),
    ("output",),
    ("handover", "lull"),
    ("engine",),
)
"""The folders and modules of `core`, from the bottom up. Each may import those before it, or of its
own row only itself."""

IMPURE = {
    "asyncio",
    "datetime",
    "logging",
    "os",
    "random",
    "secrets",
    "socket",
    "threading",
    "time",
}
"""What `core` must not use of the standard library: a decision is a function of its inputs."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, *, lazily: bool = False) -> set[str]:
    """The modules that a module imports when it is imported; `lazily`: also within functions."""
    path = MODULES[name]
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in _statements(ast.parse(path.read_text()), lazily=lazily):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            # `from . import x` may import the module x, or a name of the package
            full = {f"{base}.{alias.name}" for alias in node.names}
            found |= {module if module in MODULES else base for module in full}
    return found


def _statements(scope: ast.AST, *, lazily: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazily:
            continue
        yield node
        yield from _statements(node, lazily=lazily)


def own_imports() -> dict[str, set[str]]:
    """The modules of the package that each of its modules imports."""
    return {name: imports(name) & MODULES.keys() - {name} for name in MODULES}


def place(name: str) -> int:
    """The row of a module of `core` in `CORE_ORDER`."""
    part = name.split(".")[2]
    return next(row for row, parts in enumerate(CORE_ORDER) if part in parts)


CORE = [name for name in MODULES if name.startswith("resilient_stt.core.")]


def test_imports_have_no_circle() -> None:
    """No module imports itself by way of others."""
    try:
        order = [*TopologicalSorter(own_imports()).static_order()]
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
    assert {*order} == {*MODULES}


@pytest.mark.parametrize("name", CORE)
def test_core_imports_downwards(name: str) -> None:
    """A folder of `core` imports only itself and those below it."""
    folder = name.split(".")[2]
    for imported in imports(name, lazily=True):
        if imported.startswith("resilient_stt.core."):
            same = imported.split(".")[2] == folder
            assert same or place(imported) < place(name), f"{name} imports {imported}"


@pytest.mark.parametrize("name", CORE)
def test_core_imports_nothing_outside(name: str) -> None:
    """`core` uses the pure part of the standard library, and nothing else of the package."""
    for imported in imports(name, lazily=True):
        top = imported.split(".")[0]
        if top == "resilient_stt":
            assert imported.startswith("resilient_stt.core"), f"{name} imports {imported}"
        else:
            assert top in sys.stdlib_module_names - IMPURE, f"{name} imports {imported}"


def test_only_the_command_line_and_the_kit_import_what_extras_bring() -> None:
    """What is beside `cli` and `testing` imports only PyYAML, where it reads YAML."""
    found = {
        name: brought
        for name in MODULES
        if name.split(".")[1:2] not in (["cli"], ["testing"])
        if (brought := {m.partition(".")[0] for m in imports(name, lazily=True)} & IMPORTED.keys())
    }
    assert found == {"resilient_stt.config.yamlfile": {"yaml"}}


def test_every_part_of_core_has_its_place() -> None:
    """A new folder or module of `core` is added to `CORE_ORDER`, and an old one removed."""
    listed = [part for parts in CORE_ORDER for part in parts]
    assert sorted(listed) == sorted({name.split(".")[2] for name in CORE})


def _duplicates(places: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: where for name, where in places.items() if len(where) > 1}


def test_no_two_classes_have_one_name() -> None:
    """A class can be found, and spoken of, by its name alone."""
    places = defaultdict(list)
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(name)
    assert _duplicates(places) == {}


def test_no_two_modules_have_one_name() -> None:
    """A module or folder can be found by the last part of its name alone.

    A module may have the name of its own folder.
    """
    places = defaultdict(list)
    for name in MODULES:
        folder, _, last = name.rpartition(".")
        if last not in ("__main__", folder.rpartition(".")[2]):
            places[last].append(name)
    assert _duplicates(places) == {}


def test_tests_that_are_named_exist() -> None:
    """A comment that says which test needs a line leads to that test, or to that schedule."""
    folder = PACKAGE.parent / "tests"
    found = {path.stem for path in folder.rglob("test_*.py")}
    for path in folder.rglob("*.py"):
        found.update(re.findall(r"def (test_\w+)", path.read_text()))
    found.update(f"schedules/{path.name}" for path in (folder / "schedules").iterdir())
    for name, path in modules().items():
        named = re.findall(r"\btest_[a-z0-9_]+|schedules/[a-z0-9-]+\.json", path.read_text())
        assert found.issuperset(named), f"{name} names {set(named) - found}"
