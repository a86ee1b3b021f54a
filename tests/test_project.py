"""The files around the code agree: the lock, the hooks and the hosted workflow."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from resilient_stt.extras import IMPORTED, IMPORTED_LOCALLY

from .support.scripts import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements" / "dev.txt").read_text()
LOCAL_LOCK = (ROOT / "requirements" / "local.txt").read_text()


def pins_of(lock: str) -> list[Requirement]:
    lines = (line for line in lock.splitlines() if line and line.lstrip()[0] != "#")
    return [Requirement(line) for line in lines]


PINS = pins_of(LOCK)
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
USUAL_EXTRAS = {name: asked for name, asked in EXTRAS.items() if name != "local"}
ASKED = [
    *PROJECT["project"]["dependencies"],
    *itertools.chain(*USUAL_EXTRAS.values()),
    *itertools.chain(*PROJECT["dependency-groups"].values()),
    *PROJECT["build-system"]["requires"],
]


@pytest.mark.parametrize("asked", ASKED)
def test_the_lock_has_what_is_asked_for(asked: str) -> None:
    """Every locked version satisfies its requirement; run `nox -s lock` otherwise."""
    assert_locked(asked, PINS)


@pytest.mark.parametrize("asked", EXTRAS["local"])
def test_the_local_lock_has_what_is_asked_for(asked: str) -> None:
    """The extra `local` has a lock of its own, with the versions of the other one."""
    local = pins_of(LOCAL_LOCK)
    assert_locked(asked, local)
    usual = {(canonicalize_name(pin.name), str(pin.specifier)) for pin in PINS}
    names = {name for name, _ in usual}
    for pin in local:
        pinned = canonicalize_name(pin.name), str(pin.specifier)
        assert pinned in usual or pinned[0] not in names


def assert_locked(asked: str, locked: list[Requirement]) -> None:
    wanted = Requirement(asked)
    name = canonicalize_name(wanted.name)
    pins = [pin for pin in locked if canonicalize_name(pin.name) == name]
    assert pins
    for pin in pins:
        (version,) = pin.specifier
        assert version.operator == "=="
        assert wanted.specifier.contains(version.version), pin


def test_what_extras_bring_is_no_dependency() -> None:
    """The extra of the command line brings all of it, and every extra asks for the same version."""
    brought = {canonicalize_name(name) for name in IMPORTED.values()}
    extras = {
        extra: {canonicalize_name(Requirement(one).name): one for one in asked}
        for extra, asked in EXTRAS.items()
    }
    needed = {canonicalize_name(Requirement(d).name) for d in PROJECT["project"]["dependencies"]}
    assert {*extras["cli"]} == brought
    assert {*extras["local"]} == {*IMPORTED_LOCALLY.values()}
    assert not needed & (brought | {*extras["local"]})
    for name in brought:
        assert len({asked[name] for asked in extras.values() if name in asked}) == 1


def test_the_hooks_have_what_is_locked() -> None:
    """The commit hook formats with the version of the lint session."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    (ruff,) = [pin for pin in PINS if pin.name == "ruff"]
    assert set(re.findall(r'"(ruff.*?)"', hooks)) == {str(ruff)}


def test_the_readme_s_command_is_locked() -> None:
    """The command of the README installs what the lock contains."""
    command = (ROOT / "README.md").read_text().split("<!-- test:begin -->")[1]
    assert command.split("\n")[2] == 'pip install -c requirements/dev.txt "nox[uv]" && nox'


def sessions() -> set[str]:
    """The names of nox's sessions."""
    command = [sys.executable, "-m", "nox", "--list", "-f", str(ROOT / "noxfile.py")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^[*-] (\S+)", listed, re.MULTILINE))


def hosted() -> Iterator[str]:
    """The sessions that the hosted workflow runs, with each job's matrix."""
    for job in WORKFLOW["jobs"].values():
        matrix: dict[str, list[str]] = job["strategy"]["matrix"]
        for values in itertools.product(*matrix.values()):
            for step in job["steps"]:
                command = step.get("run", "")
                for key, value in zip(matrix, values, strict=True):
                    command = command.replace(f"${{{{ matrix.{key} }}}}", value)
                if command.startswith("nox -s "):
                    yield from command.partition(" -- ")[0].split()[2:]


def test_the_hosted_workflow_runs_sessions_that_there_are() -> None:
    """The workflow runs existing sessions, all that a plain `nox` runs, and both ends for each
    Python of a classifier.
    """
    pytest.importorskip("nox")
    known, run = sessions(), set(hosted())
    assert run <= known
    ends = {name for name in known if re.match("(lowest|newest)-", name)}
    assert {"lint", "types", "tests", "wheel", *ends} <= run


def test_the_hosted_workflow_may_only_read() -> None:
    """The workflow's token cannot write, and the actions of others are pinned."""
    assert WORKFLOW["permissions"] == {"contents": "read"}
    used = [s["uses"] for job in WORKFLOW["jobs"].values() for s in job["steps"] if "uses" in s]
    assert used
    assert all(re.search(r"@v\d+\.\d+\.\d+$", one) for one in used)
