"""`nox` runs lint, types, tests and wheel, which should take ten minutes on two cores."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
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
LOCAL_LOCK = "requirements/local.txt"
"""The same for the extra `local`, which only the sessions `local` and `real` install."""
PAGE = "docs/providers.md"
"""What `nox -s matrix` writes."""
COST = "docs/cost.md"
"""What `nox -s bench` writes."""
HOOKS = ".pre-commit-config.yaml"
TYPED = (
    "resilient_stt",
    "examples",
    "tests",
    "benchmarks",
    "noxfile.py",
    "_resilient_stt_pytest.py",
)
TOOLS = ("hypothesis", "jsonschema", "packaging", "pytest-timeout", "pytest-xdist")
"""What the tests need beside the extras."""
EXTRAS = ".[cli,pytest,redis]"
"""The package with what its tests need of it."""
LIVEKIT = ("livekit-agents", "livekit-plugins-cartesia", "livekit-plugins-deepgram")
SIMULATE = ("-m", "resilient_stt.testing.simulate")
CORE = ("tests/core", "tests/testing/simulate/test_simulator.py")
"""The tests of core/."""
USUAL = "not slow and not sweep and not real"
"""The marks of the tests that the usual sessions run."""
SIMULATED = 555_000_000
"""The first seed of calls that keep every promise. Of those that `explore` draws, a few still break
one: the 3,683rd and the 5,466th of the 10,000 from this seed on; of those with accents, 10 of 5,000
(from 770000000 on)."""
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
    """Mypy, strict: the package, and typed code that uses it, also that of the documentation."""
    install(session)
    blocks = Path(session.create_tmp()) / "blocks"
    session.run("python", "scripts/code_blocks.py", str(blocks))
    session.run("mypy", *TYPED, str(blocks))


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the slow ones and the sweeps, and 600 simulated calls.

    What is drawn is the same in every run, so that it is the change that turns this red. Other
    draws are those of `explore`.
    """
    install(session)
    session.run("python", *pytest(session), USUAL, "tests", "examples")
    session.run("python", *SIMULATE, "--schedules", "600", "--seed", str(SIMULATED))


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests of core/: every branch must run; then of what is around it: 90 % of them."""
    install(session)
    measured(session, CORE, "core")
    around = sorted(map(str, Path("tests").glob("test_*.py")))
    around += ["tests/fleet", "tests/livekit", "tests/providers"]
    measured(session, around, "", least=90, omitted=f"{KIT},*/core/*")


def measured(
    session: nox.Session, paths: Sequence[str], part: str, *, least: int = 100, omitted: str = KIT
) -> None:
    """Run tests, and fail if they leave more than that out of a part of the package.

    Measuring doubles what a test takes, and more where core/ runs for long. So only core/'s own
    tests measure core/, and those of what is around it only that.
    """
    data = {"COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    session.run("coverage", "erase", env=data)
    env = {**data, "MEASURED": str(Path("resilient_stt", part).resolve())}
    run = ["coverage", "run", f"--omit={omitted}", *pytest(session), USUAL, *paths]
    session.run(*run, env=env)
    session.run("coverage", "combine", "--quiet", env=data)
    session.run("coverage", "report", f"--omit={omitted}", f"--fail-under={least}", env=data)


def pytest(session: nox.Session, seed: int = 0) -> list[str]:
    """Return the command for the tests of some marks, which are to follow. `seed`: of the draws.

    Two workers: with more than there are cores, gRPC's threads fall behind virtual time.
    """
    parallel = ["-n", "2", "--dist", "worksteal"]
    return ["-m", "pytest", *parallel, f"--hypothesis-seed={seed}", *session.posargs, "-m"]


@nox.session
def explore(session: nox.Session) -> None:
    """Draws that no commit had before: Hypothesis, 1000 simulated calls, and 1000 with accents.

    They are the commit's own, so that what is red can be repeated.
    """
    install(session)
    commit = session.run("git", "rev-parse", "HEAD", external=True, silent=True)
    seed = int(str(commit)[:7], 16) * 1000
    session.run("python", *pytest(session, seed), USUAL, *CORE)
    for accents in ("--no-accents", "--accents"):
        session.run("python", *SIMULATE, "--schedules", "1000", "--seed", str(seed), accents)


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
    oldest = ("--resolution", "lowest-direct", "-e", EXTRAS)
    # LiveKit imports OpenTelemetry's exporter, whose 1.45.0 needs requests without asking for it
    session.install(*oldest, *locked(*TOOLS), *locked(*LIVEKIT, "requests"))
    compiled(session)
    others = ("-W", "ignore::DeprecationWarning")  # what old versions warn of is not ours
    pytest = ("-m", "pytest", "-n", "2", *others, "-m", USUAL)
    session.run("python", *pytest, *session.posargs)


@nox.session(python=PYTHONS, venv_backend="uv")
def newest(session: nox.Session) -> None:
    """Types and tests, with what is newest today: of dependencies, and of the tools, too."""
    plugins = PROJECT["project"]["optional-dependencies"]["providers"]
    tools = nox.project.dependency_groups(PROJECT, "dev")
    session.install("--upgrade", "-e", EXTRAS, *plugins, *tools)
    compiled(session)
    session.run("mypy", *TYPED)
    session.run("python", "-m", "pytest", "-n", "2", "-m", USUAL, *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Lock what is newest today: nox -s lock, or nox -s lock -- --upgrade-package ruff."""
    session.install("-c", LOCK, "uv")
    which = session.posargs or ["--upgrade"]
    command = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "pyproject.toml",
    ]
    env = {"UV_CUSTOM_COMPILE_COMMAND": "nox -s lock"}
    extras = [*PROJECT["project"]["optional-dependencies"]]
    extras.remove("local")
    usual = [f"--extra={extra}" for extra in extras] + ["--group", "dev", "--group", "docs"]
    session.run(*command, *usual, *which, "--output-file", LOCK, env=env)
    local = ["--extra=local", "-c", LOCK]
    session.run(*command, *local, *which, "--output-file", LOCAL_LOCK, env=env)
    (ruff,) = locked("ruff")
    hooks = Path(HOOKS)
    hooks.write_text(re.sub(r'"ruff==[^"]+"', f'"{ruff}"', hooks.read_text()))


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that wait in real time: several processes, and an SDK with its own clock."""
    install(session)
    session.run("python", *pytest(session), "slow", "tests")


@nox.session
def sweep(session: nox.Session) -> None:
    """The sweeps, at every word's start and middle; nox -s sweep -- -k name for some."""
    install(session)
    command = ["-m", "pytest", "-n", "2", "-m", "sweep", *session.posargs]
    session.run("python", *command, env={"SWEEP": "whole"})


@nox.session
def real(session: nox.Session) -> None:
    """Real speech, two real recognizers, 125 drops: the word error rate.

    Moonshine decodes, with the model in its wheel. 100 of the drops take five minutes on two cores.
    """
    install(session)
    session.install("-r", LOCAL_LOCK)
    command = ["-m", "pytest", "-m", "real", *session.posargs, "tests/real"]
    session.run("python", *command, env={"CI_REQUIRES_LOCAL": "1"})


@nox.session
def local(session: nox.Session) -> None:
    """The extra `local`: its tests with the real model, and the chain on speech of people.

    nox -s local, or nox -s local -- --cuts 8. The machine must be idle otherwise.
    """
    install(session)
    session.install("-r", LOCAL_LOCK)
    env = {"CI_REQUIRES_LOCAL": "1"}
    session.run("python", "-m", "pytest", "tests/local", "tests/cli/test_listen.py", env=env)
    session.run("python", "benchmarks/local.py", *session.posargs)


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
def docs(session: nox.Session) -> None:
    """The documentation as a site; any warning is an error. nox -s docs -- serve shows it.

    The parts that are written from the code must be fresh: python scripts/generated_docs.py.
    """
    install(session)
    session.run("python", "scripts/generated_docs.py", "--check")
    site = str(Path(session.create_tmp()).resolve() / "site")
    session.run("mkdocs", *(session.posargs or ["build", "--strict", "--site-dir", site]))


@nox.session
def bench(session: nox.Session) -> None:
    """What it costs beside the bare plugin and FallbackAdapter; the page with it is written.

    nox -s bench, or nox -s bench -- frame memory. About half an hour on two cores, which must be
    idle otherwise. nox -s bench -- --quick compares a few ratios with benchmarks/cost/limits.toml,
    in a minute or two on any machine, and fails if one is above its limit.
    """
    install(session)
    whole = ["--json", str(Path(session.create_tmp()) / "cost.json"), "--update", COST]
    session.run("python", "-m", "benchmarks.cost", *(session.posargs or whole))


@nox.session
def page(session: nox.Session) -> None:
    """The page of the flight recorder in Chromium, driven by Playwright; about half a minute.

    Chromium is the system's: apt-get install chromium. Without it, other sessions skip these tests.
    """
    install(session)
    session.install("playwright")
    browser = "tests/recording/test_page_in_browser.py"
    session.run(
        "python", "-m", "pytest", *session.posargs, browser, env={"CI_REQUIRES_CHROMIUM": "1"}
    )


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel and install it alone; then with the extra of its command line, and run the
    demo.
    """
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
    alone = "import resilient_stt; resilient_stt.ResilientSTT"
    session.run(str(commands / "python"), "-P", "-c", alone, external=True)
    session.run(*pip, f"{built}[cli]", external=True)
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
    session.install("--upgrade", "-e", EXTRAS, *locked(*TOOLS), *pins)
    session.run("python", "-c", "import livekit.agents; print(livekit.agents.__version__)")
    contract = ("livekit_contract", "contract", "agent_session", "stream", "stt")
    tests = [f"tests/test_{name}.py" for name in contract] + ["tests/livekit/test_compat.py"]
    session.run("python", "-m", "pytest", "-n", "2", "-m", USUAL, *session.posargs, *tests)
    drop = ("chaos", "--only", "drop")  # exit status 1 if a word is lost, repeated or late
    session.run("resilient-stt", *drop)
