"""`nox` runs lint, types, tests and wheel; it must stay below ten minutes on two cores."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "wheel"]
nox.options.default_venv_backend = "uv|virtualenv"  # a minute less of installing, where it is there
nox.needs_version = ">=2024.10.9"

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
LOCK = "requirements/dev.txt"
"""All that is installed here, in the versions that passed last, so that no new release of a
dependency turns this red. `nox -s lock` takes newer ones."""
PAGE = "docs/providers.md"
"""What `nox -s matrix` writes."""
HOOKS = ".pre-commit-config.yaml"
TYPED = (
    "resilient_stt",
    "examples",
    "tests",
    "benchmarks",
    "noxfile.py",
    "_resilient_stt_pytest.py",
)
TOOLS = ("hypothesis", "jsonschema", "packaging", "pytest-xdist")
"""What the tests need beside the extras."""
LIVEKIT = ("livekit-agents", "livekit-plugins-cartesia", "livekit-plugins-deepgram")
SIMULATE = ("-m", "resilient_stt.testing.simulate")
KIT = "*/cli/*,*/testing/*,*/_resilient_stt_pytest.py"
OUT_OF_REACH = "/"
"""A working directory from which the source tree cannot be imported by accident."""


def install(session: nox.Session) -> None:
    """Install the package as it stands, and all of the lock."""
    session.install("-r", LOCK)
    session.install("--no-deps", "--no-build-isolation", "-e", ".")
    compiled(session)


def compiled(session: nox.Session) -> None:
    """Let Python keep what it compiles: some tests are processes, and all import LiveKit."""
    session.env["PYTHONDONTWRITEBYTECODE"] = ""


def locked(*names: str) -> list[str]:
    """The requirements of some names, as they are locked."""
    return [pin for pin in Path(LOCK).read_text().splitlines() if pin.split("==")[0] in names]


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("-c", LOCK, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict: the package, and typed code that uses it."""
    install(session)
    session.run("mypy", *TYPED)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, and simulated calls that no commit had before; every branch of core/ must run.

    Measuring doubles what a test takes, and more where core/ runs for long. So only core/'s own
    tests measure core/, those of the shell only the shell, and these nothing: the sweeps, which
    cover nothing that the others do not, those of the command line and those of the kit.
    """
    install(session)
    data = {"COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    commit = session.run("git", "rev-parse", "HEAD", external=True, silent=True)
    seed = int(str(commit)[:7], 16) * 1000
    drawn = f"--hypothesis-seed={seed}"  # a commit's own, so that what is red can be repeated
    pytest = ["-m", "pytest", "-n", "2", drawn, *session.posargs, "-m"]
    simulated = "tests/testing/simulate/test_simulator.py"
    shell = sorted(map(str, Path("tests").glob("test_*.py")))
    shell += ["tests/fleet", "tests/livekit", "tests/providers"]
    for part, least, omitted, paths in (
        ("resilient_stt/core", 100, KIT, ["tests/core", simulated]),
        ("resilient_stt", 90, f"{KIT},*/core/*", shell),
    ):
        session.run("coverage", "erase", env=data)
        measured = {**data, "MEASURED": str(Path(part).resolve())}
        run = ["coverage", "run", f"--omit={omitted}", *pytest, "not sweep", *paths]
        session.run(*run, env=measured)
        session.run("coverage", "combine", "--quiet", env=data)
        session.run("coverage", "report", f"--omit={omitted}", f"--fail-under={least}", env=data)
    kit = ["tests/cli", "tests/testing", f"--ignore={simulated}"]
    session.run("python", *pytest, "not sweep", *kit)
    session.run("python", *pytest, "sweep")
    session.run("python", *SIMULATE, "--schedules", "1000", "--seed", str(seed))


def oldest_livekit() -> list[str]:
    """The oldest LiveKit that pyproject.toml allows, and what it needs beside it.

    Its sessions have no voice activity detector of their own, and it needs the httpx of openai 2.
    """
    bounds = [
        d for d in PROJECT["project"]["dependencies"] if re.match("livekit-(agents|plugins-)", d)
    ]
    pins = [re.sub(">=([^,]+).*", r"==\1", bound) for bound in bounds]
    (agents,) = (pin for pin in pins if pin.startswith("livekit-agents"))
    return [*pins, agents.replace("agents", "plugins-silero"), "openai<3"]


@nox.session(python=PYTHONS, venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The tests, with the oldest versions that pyproject.toml allows, but LiveKit's newest.

    `nox -s "livekit(livekit='oldest')"` has the oldest LiveKit: half of the tests use what that
    does not have (keyterms, a voice activity detector of its own), so it runs the contract only.
    """
    oldest = ("--resolution", "lowest-direct", "-e", ".[pytest,redis]")
    session.install(*oldest, *locked(*TOOLS), *locked(*LIVEKIT))
    compiled(session)
    others = ("-W", "ignore::DeprecationWarning")  # what old versions warn of is not ours
    pytest = ("-m", "pytest", "-n", "2", *others, "-m", "not sweep")
    session.run("python", *pytest, *session.posargs)


@nox.session(python=PYTHONS, venv_backend="uv")
def newest(session: nox.Session) -> None:
    """Types and tests, with what is newest today: of dependencies, and of the tools, too."""
    session.install(
        "--upgrade", "-e", ".[pytest,redis]", *nox.project.dependency_groups(PROJECT, "dev")
    )
    compiled(session)
    session.run("mypy", *TYPED)
    session.run("python", "-m", "pytest", "-n", "2", "-m", "not sweep", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Lock what is newest today: nox -s lock, or nox -s lock -- --upgrade-package ruff."""
    session.install("-c", LOCK, "uv")
    which = session.posargs or ["--upgrade"]
    command = "uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev"
    env = {"UV_CUSTOM_COMPILE_COMMAND": "nox -s lock"}
    session.run(*command.split(), *which, "--output-file", LOCK, "pyproject.toml", env=env)
    (ruff,) = locked("ruff")
    hooks = Path(HOOKS)
    hooks.write_text(re.sub(r'"ruff==[^"]+"', f'"{ruff}"', hooks.read_text()))


@nox.session
def sweep(session: nox.Session) -> None:
    """The sweeps alone, at every word's start and middle."""
    install(session)
    command = ["-m", "pytest", "-n", "2", "-m", "sweep", *session.posargs]
    session.run("python", *command, env={"SWEEP": "whole"})


@nox.session
def simulate(session: nox.Session) -> None:
    """Simulated calls: nox -s simulate -- --schedules 10000 --seed 7."""
    install(session)
    session.run("python", *SIMULATE, *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the code on purpose, and see the simulated calls notice."""
    install(session)
    session.run("python", "scripts/mutants.py", *session.posargs)


@nox.session
def matrix(session: nox.Session) -> None:
    """Every provider with a fake, in every place of a chain, with every fault; its page is written.

    nox -s matrix, or nox -s matrix -- soniox --only drop. Some 1450 calls, about five minutes on
    two idle cores. It fails if any promise was broken; the page says which.
    """
    install(session)
    session.run("resilient-stt", "matrix", *(session.posargs or ["--update", PAGE]))


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it alone, and run the demo from it."""
    session.install("-c", LOCK, "build", "hatchling")
    compiled(session)
    dist = Path(session.create_tmp()).resolve()
    for old in dist.glob("*.whl"):
        old.unlink()
    build = ["build", "--wheel", "--no-isolation", "--outdir", str(dist)]
    session.run("python", "-m", *build, silent=True)
    (built,) = dist.glob("*.whl")
    session.run("python", "-m", "venv", "--clear", str(dist / "alone"), silent=True)
    commands = dist / "alone" / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(commands / "python"), "-m", "pip", "install", "-q", "-c", LOCK]
    session.run(*pip, str(built), external=True)
    session.chdir(OUT_OF_REACH)
    command = str(commands / "resilient-stt")
    printed = session.run(command, "demo", "--json", external=True, silent=True)
    result = json.loads(str(printed))
    if result["lost"] or result["repeated"]:
        session.error(f"the demo lost or repeated words: {result}")
    session.log(f"demo from the wheel: {result}")


@nox.session
@nox.parametrize("livekit", ["oldest", "newest"])
def livekit(session: nox.Session, livekit: str) -> None:
    """LiveKit's contract, with the oldest and the newest LiveKit that the metadata allow.

    nox -s livekit, or nox -s "livekit(livekit='oldest')". About four minutes on two cores, so not
    by default. The newest is what the registry has today; the default sessions use it, too.
    """
    pins = oldest_livekit() if livekit == "oldest" else []
    session.install("--upgrade", "-e", ".[pytest,redis]", *locked(*TOOLS), *pins)
    session.run("python", "-c", "import livekit.agents; print(livekit.agents.__version__)")
    contract = ("livekit_contract", "contract", "agent_session", "stream", "stt")
    tests = [f"tests/test_{name}.py" for name in contract] + ["tests/livekit/test_compat.py"]
    session.run("python", "-m", "pytest", "-n", "2", "-m", "not sweep", *session.posargs, *tests)
    drop = ("chaos", "--only", "drop")  # exit status 1 if a word is lost, repeated or late
    session.run("resilient-stt", *drop)
