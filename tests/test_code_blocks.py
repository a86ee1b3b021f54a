"""Every block of code in the documentation does what its page says.

Python is type-checked by `nox -s types`, and here its tests are run; configurations are loaded, and
commands are held against the command line. The test that is to fail is run by `test_plugin.py`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from resilient_stt.cli.app import app
from resilient_stt.config import load
from resilient_stt.extras import IMPORTED_LOCALLY

from .support.scripts import ROOT
from .support.scripts import load as load_script
from .test_docs import spans

CODE: Any = load_script("scripts/code_blocks.py")
BLOCKS = [block for page in CODE.PAGES for block in CODE.blocks(page)]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def each(of: Callable[[Any], bool]) -> pytest.MarkDecorator:
    """The blocks for which this holds, of which there must be some."""
    found = [block for block in BLOCKS if of(block)]
    assert found
    return pytest.mark.parametrize("block", found, ids=lambda block: block.name)


def test_every_page_with_code_is_complete() -> None:
    """No fence is open or indented, and every language is one that something here checks."""
    for page in CODE.PAGES:
        fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.M)
        assert len(fences) == 2 * len(list(CODE.blocks(page))), page
    checked = {"python", "yaml", "sh", "toml", "json", "mermaid", ""}  # mermaid: generated
    assert {block.language for block in BLOCKS} <= checked


@each(lambda block: block.language == "python")
def test_python_is_a_module(block: Any, tmp_path: Path) -> None:
    """It compiles, and its lines have the numbers of the page, so that mypy names those."""
    source = CODE.module(block)
    compile(source, block.name, "exec")
    assert source.splitlines()[block.line - 1 :] == block.text.splitlines()


@each(lambda block: block.is_test and "FallbackAdapter" not in block.text)
def test_a_test_passes(block: Any, pytester: pytest.Pytester) -> None:
    """The tests that the documentation shows pass, in pytest-asyncio's default mode."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(block.text)
    run = pytester.runpytest_inprocess("-p", "no:hypothesispytest")
    run.assert_outcomes(passed=block.text.count("def test_"))


@each(lambda block: block.language == "yaml")
def test_a_configuration_loads(block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration is valid; any other file at least can be read."""
    monkeypatch.delenv("DEEPGRAM_MODEL", raising=False)
    (tmp_path / "stt.yaml").write_text(block.text)
    if "providers" in yaml.safe_load(block.text):
        assert load(tmp_path / "stt.yaml")


@each(lambda block: block.language in ("toml", "json", "sh"))
def test_what_a_shell_or_a_file_takes(block: Any) -> None:
    """Commands and their options exist; files can be read."""
    match block.language:
        case "toml":
            tomllib.loads(block.text)
        case "json":
            json.loads(block.text)
        case _:
            wrong = [why for command in commands(block.text) for why in mistakes(command)]
            assert not wrong


@pytest.mark.parametrize("page", CODE.PAGES, ids=lambda page: page.name)
def test_what_a_sentence_tells_to_run(page: Path) -> None:
    """Commands of ours in a sentence exist as well, with their options."""
    told = [span for span in spans(page) if re.match(r"resilient-stt [a-z]|pip install \.", span)]
    assert not [why for span in told for words in commands(span) for why in mistakes(words)]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a block, as lists of words."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in line.split(" && "):
            if words := shlex.split(command, comments=True):
                yield words


def mistakes(words: list[str]) -> Iterator[str]:
    """What is wrong with a command."""
    match words:
        case ["resilient-stt", name, *arguments]:
            yield from unknown_options(name, arguments)
        case ["pip", "install", *_]:
            extras = re.findall(r"\.\[([\w,]+)\]", " ".join(words))
            asked = {extra for several in extras for extra in several.split(",")}
            yield from (f"no extra {extra}" for extra in asked - {*EXTRAS})
        case ["python" | "python3", "-m", module, *_]:
            package = module.partition(".")[0]
            if package not in IMPORTED_LOCALLY and importlib.util.find_spec(module) is None:
                yield f"no module {module}"
        case ["python", script, *_]:
            if not (ROOT / script).exists():
                yield f"no script {script}"
        case ["pytest" | "mypy", *arguments]:
            paths = [a for a in arguments if "/" in a or a in ("tests", "resilient_stt")]
            yield from (f"no path {path}" for path in paths if not (ROOT / path).exists())
        case ["nox" | "export" | "curl" | "git" | "ruff" | ".", *_]:
            pass
        case _:
            yield f"nothing here knows the command {words[0]}"


def unknown_options(name: str, arguments: list[str]) -> Iterator[str]:
    """The options that a command of `resilient-stt` does not list in its help."""
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    if shown.exit_code:
        yield f"no command {name}"
        return
    known = {*re.findall(r"--?[a-z][\w-]*", shown.output)}
    yield from (f"{name} has no option {a}" for a in arguments if a[0] == "-" and a not in known)


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("resilient-stt demo --fast", []),
        ("resilient-stt demo --fats", ["demo has no option --fats"]),
        ("resilient-stt dmeo", ["no command dmeo"]),
        ('pip install ".[pytest,providers]"', []),
        ('pip install ".[nothing]"', ["no extra nothing"]),
        ("python -m resilient_stt.nothing", ["no module resilient_stt.nothing"]),
        ("python scripts/nothing.py", ["no script scripts/nothing.py"]),
        ("resilent-stt demo", ["nothing here knows the command resilent-stt"]),
    ],
)
def test_a_wrong_command_is_noticed(command: str, wrong: list[str]) -> None:
    """Each kind of mistake that a page may have."""
    assert [why for words in commands(command) for why in mistakes(words)] == wrong
