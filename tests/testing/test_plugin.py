"""The pytest plugin, used in test suites: each test here writes one and runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import livekit.plugins.cartesia
import livekit.plugins.deepgram
import pytest

import _resilient_stt_pytest as plugin
import resilient_stt.testing

# After an in-process run, pytest removes the modules that the run imported first, and numpy cannot
# be imported twice.
IMPORTED_BEFORE = (livekit.plugins.cartesia, livekit.plugins.deepgram, resilient_stt.testing)

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"

Suite = Callable[..., pytest.RunResult]

HEADER = """\
import asyncio
import pytest
from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.plugins import cartesia, deepgram
from resilient_stt import ResilientSTT
from resilient_stt.testing import *

@pytest.fixture
def reference_speech():
    return ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)

def on_virtual_time():
    return type(asyncio.get_running_loop()) is VirtualTimeLoop

"""
QUICK = ("-p", "no:hypothesispytest")
"""Without a plugin that imports its package in every run."""
ALONE = ("-p", "no:asyncio")
"""Without pytest-asyncio."""
WITHOUT = ("-p", "no:resilient_stt")
"""As if the package were not installed."""
MARKED = "pytestmark = [pytest.mark.asyncio, pytest.mark.stt_virtual_time]\n"
HEALTHY = """
    async def test_healthy(fake_cartesia, play_speech):
        played = await play_speech(fake_cartesia.stt())
        assert played.score.ok and played.finished, str(played.score)
        assert on_virtual_time()
    """


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Suite:
    """Run a suite of one module in this process; its warnings are errors."""

    def run(body: str, *options: str, ini: str = "", conftest: str = "") -> pytest.RunResult:
        scope = "" if ALONE[1] in options else "asyncio_default_fixture_loop_scope = function"
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{scope}\n{ini}\n")
        pytester.makeconftest(dedent(conftest))
        pytester.makepyfile(HEADER + dedent(body))
        return pytester.runpytest_inprocess("--strict-markers", *QUICK, *options)

    return run


# -- suites that do not use it


def test_loading_it_imports_nothing_of_the_package() -> None:
    """Loading the plugin imports nothing of the package, so that pytest starts as fast as without
    it, and coverage tools measure the package's import."""
    loading = f"import sys, {plugin.__name__}; print(*sys.modules)"
    command = [sys.executable, "-c", loading]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert plugin.__name__ in loaded
    assert not loaded & {"resilient_stt", "livekit", "numpy", "aiohttp", "pytest_asyncio"}


STARTED = """
    import sys

    def pytest_unconfigure():
        print(*sorted(sys.modules), sep="\\n")
    """


def test_pytest_starts_with_nothing_more(pytester: pytest.Pytester) -> None:
    """A run of a suite that does not use the plugin imports no other module for it."""
    pytester.makeconftest(dedent(STARTED))
    pytester.makepyfile("async def test_it(): pass")
    options = ("-s", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    absent = pytester.runpytest_subprocess(*options, *WITHOUT)
    present = pytester.runpytest_subprocess(*options)
    for run in (absent, present):
        run.assert_outcomes(passed=1)
        assert "sys" in run.outlines
    more = {*present.outlines} - {*absent.outlines}
    assert {line for line in more if re.fullmatch(r"[\w.]+", line)} == {plugin.__name__}


FOREIGN = """
    import asyncio
    import pytest

    class TheirLoop(asyncio.SelectorEventLoop):
        pass

    class TheirPolicy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self):
            return TheirLoop()

    def pytest_configure(config):
        config.addinivalue_line("markers", "virtual_time: their own, as in LiveKit's suite")

    @pytest.fixture
    def event_loop_policy(request):
        marked = request.node.get_closest_marker("virtual_time")
        return TheirPolicy() if marked else asyncio.DefaultEventLoopPolicy()
    """
FOREIGN_TESTS = """
    import asyncio
    import pytest

    def loop():
        return type(asyncio.get_running_loop()).__name__

    @pytest.mark.virtual_time
    async def test_on_their_loop():
        assert loop() == "TheirLoop"

    async def test_on_the_default_loop():
        assert loop() != "TheirLoop"

    @pytest.mark.virtual_time
    def test_without_a_loop():
        pass

    @pytest.mark.virtual_time
    @pytest.mark.parametrize("number", [1, 2])
    async def test_that_fails(number):
        assert loop() == number
    """


def told(run: pytest.RunResult) -> list[str]:
    """The output of a run, without its duration and the list of plugins."""
    return [re.sub(r" in [\d.]+s", "", line) for line in run.outlines if "plugins: " not in line]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio has deprecated policies")
def test_a_foreign_virtual_time_is_left_alone(pytester: pytest.Pytester) -> None:
    """In a suite with a `virtual_time` mark of its own, each test keeps its loop, name and
    failure."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nfilterwarnings = ignore\n")
    pytester.makeconftest(dedent(FOREIGN))
    pytester.makepyfile(dedent(FOREIGN_TESTS))
    options = ("-v", "--strict-markers", "-p", "no:cacheprovider")
    absent = pytester.runpytest_subprocess(*options, *WITHOUT)
    present = pytester.runpytest_subprocess(*options)
    absent.assert_outcomes(passed=3, failed=2)
    assert told(present) == told(absent)


def test_a_suites_own_fixtures_take_precedence(suite: Suite) -> None:
    """A suite's own fixtures take precedence over the plugin's fixtures of the same name."""
    names = ("fake_cartesia", "fake_deepgram", "play_speech", "livekit_http_session")
    own = "\n".join(f"@pytest.fixture\ndef {name}(): return {name!r}\n" for name in names)
    asked = ", ".join(names)
    suite(f"{own}\ndef test_it({asked}): assert ({asked}) == {names!r}\n").assert_outcomes(passed=1)


CUSTOM = """
    import asyncio

    class CustomLoop(asyncio.SelectorEventLoop):
        pass

    def pytest_asyncio_loop_factories():
        return {"custom": CustomLoop}
    """


@pytest.mark.parametrize("conftest", ["", CUSTOM], ids=["default", "custom"])
def test_only_marked_tests_get_another_loop(suite: Suite, conftest: str) -> None:
    """Before and after a test with the mark, tests run on the suite's own event loops."""
    name = "CustomLoop" if conftest else "_UnixSelectorEventLoop"
    body = f"""
    @pytest.mark.asyncio
    async def test_before():
        assert type(asyncio.get_running_loop()).__name__ == {name!r}

    @pytest.mark.asyncio
    @pytest.mark.stt_virtual_time
    async def test_marked():
        assert on_virtual_time()

    @pytest.mark.asyncio
    async def test_after():
        assert type(asyncio.get_running_loop()).__name__ == {name!r}

    @pytest.mark.stt_virtual_time
    def test_without_a_loop():
        pass
    """
    suite(body, conftest=conftest).assert_outcomes(passed=4)


# -- suites of all kinds


def test_strict_mode(suite: Suite) -> None:
    """The fixtures work in pytest-asyncio's strict mode, where tests need its mark."""
    suite(MARKED + dedent(HEALTHY)).assert_outcomes(passed=1)


def test_auto_mode(suite: Suite) -> None:
    """The fixtures work in pytest-asyncio's auto mode, where tests need no mark."""
    body = "pytestmark = pytest.mark.stt_virtual_time\n" + dedent(HEALTHY)
    suite(body, ini="asyncio_mode = auto").assert_outcomes(passed=1)


@pytest.mark.parametrize("options", [(), ALONE], ids=["beside", "alone"])
def test_anyio(suite: Suite, options: tuple[str, ...]) -> None:
    """The fixtures work with anyio's plugin, with or without pytest-asyncio installed."""
    body = "pytestmark = [pytest.mark.anyio, pytest.mark.stt_virtual_time]\n" + dedent(HEALTHY)
    suite(body, *options).assert_outcomes(passed=1)


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_servers_run_on_the_loop_of_the_test(suite: Suite, scope: str) -> None:
    """The servers run on the loop of the test, whatever the scope of that loop is."""
    body = f"""
    pytestmark = [pytest.mark.asyncio(loop_scope={scope!r}), pytest.mark.stt_virtual_time]

    class TestBoth:
        async def test_one(self, fake_cartesia, play_speech):
            played = await play_speech(fake_cartesia.stt())
            assert played.score.ok

        async def test_two(self, fake_cartesia, play_speech):
            assert not fake_cartesia.connections
            played = await play_speech(fake_cartesia.stt())
            assert played.score.ok
    """
    suite(body).assert_outcomes(passed=2)


def test_the_scope_of_loops_can_be_configured(suite: Suite) -> None:
    """The default scope of loops may be configured."""
    ini = "asyncio_default_test_loop_scope = session"
    suite(MARKED + dedent(HEALTHY), ini=ini).assert_outcomes(passed=1)


# -- suites that cannot use it


def test_a_suite_without_event_loops_gets_advice(suite: Suite) -> None:
    """Without a plugin for async tests, the error says which plugins there are."""
    run = suite("async def test_it(fake_cartesia): pass", *ALONE)
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*A fixture of `resilient_stt.testing` needs an `async def` test*"])
    run.stdout.fnmatch_lines(['*pip install "pytest-asyncio>=1.4"*'])


def test_a_mark_without_event_loops_is_an_error(suite: Suite) -> None:
    """A test with the mark is never run in real time: without event loops, it is an error."""
    run = suite("@pytest.mark.stt_virtual_time\nasync def test_it(): pass", *ALONE)
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*The mark `stt_virtual_time` needs an `async def` test*"])


def test_a_test_that_is_not_async_gets_advice(suite: Suite) -> None:
    """A test that is not async gets an error, because a server cannot serve a test that blocks its
    loop."""
    run = suite("def test_it(fake_deepgram): pass")
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*needs an `async def` test*"])


# -- what the fixtures give


def test_plugins_need_no_worker(suite: Suite) -> None:
    """The published plugins, made as an agent makes them, find the servers and an HTTP session."""
    body = """
    @pytest.mark.parametrize("explicitly", [False, True])
    async def test_it(explicitly, fake_cartesia, fake_deepgram, livekit_http_session, play_speech):
        assert http_context.http_session() is livekit_http_session
        http = {"http_session": livekit_http_session} if explicitly else {}
        for target in [
            cartesia.STT(model="ink-whisper", api_key="any", base_url=fake_cartesia.url, **http),
            deepgram.STT(api_key="any", base_url=fake_deepgram.url, **http),
        ]:
            for _ in range(2):
                played = await play_speech(target)
                assert played.score.ok, str(played.score)
    """
    suite(MARKED + dedent(body)).assert_outcomes(passed=2)


def test_another_speech(suite: Suite) -> None:
    """The speech can be overridden as a fixture, and passed to `play_speech`."""
    body = """
    async def test_it(fake_deepgram, play_speech, reference_speech):
        played = await play_speech(fake_deepgram.stt())
        assert played.speech is reference_speech
        other = ReferenceSpeech.load("english").excerpt(1, 1).padded(1.0)
        played = await play_speech(fake_deepgram.stt(), other, frame_duration=0.05)
        assert played.speech is other
        assert played.score.ok, str(played.score)
    """
    suite(MARKED + dedent(body)).assert_outcomes(passed=1)


def test_the_default_speech_is_the_whole_recording(suite: Suite) -> None:
    """The default speech is the whole recording, so that the word of any fault is spoken."""
    body = """
    del reference_speech

    def test_it(reference_speech):
        assert len(reference_speech.words) == 70
    """
    suite(body).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("fault", "strikes"),
    [("Drop(at_word=5, part=0.5)", "heard == 5"), ("Drop(at_time=2.0)", "at == 2.0")],
    ids=["word", "time"],
)
def test_faults_by_script(suite: Suite, fault: str, strikes: str) -> None:
    """A fault happens at a word, or at a time counted from the start of the test."""
    body = f"""
    async def test_it(fake_cartesia, play_speech, reference_speech):
        fake_cartesia.faults = [{fault}]
        played = await play_speech(fake_cartesia.stt())
        first = fake_cartesia.connections[0]
        at = round(first.closed, 2)
        heard = sum(word.end < first.audio for word in reference_speech.words)
        assert first.ended == "reset"
        assert {strikes}
        assert played.score.lost
    """
    suite(MARKED + dedent(body)).assert_outcomes(passed=1)


def test_faults_by_hand(suite: Suite) -> None:
    """A test can break the open connections in the middle of a run; later ones are healthy."""
    body = """
    @pytest.mark.parametrize("make", [stt.FallbackAdapter, ResilientSTT])
    async def test_it(make, fake_cartesia, fake_deepgram, play_speech):
        target = make([fake_cartesia.stt(), fake_deepgram.stt()])
        playing = asyncio.create_task(play_speech(target))
        await asyncio.sleep(2.0)
        fake_cartesia.trigger(Drop())
        played = await playing
        assert fake_cartesia.connections[0].ended == "reset"
        assert all(c.ended != "reset" for c in fake_cartesia.connections[1:])
        assert played.score.ok is (make is ResilientSTT), str(played.score)
    """
    suite(MARKED + dedent(body)).assert_outcomes(passed=2)


def test_a_test_that_fails_leaves_nothing(suite: Suite) -> None:
    """After a test, servers, sockets, tasks and the STT are gone, even if the test failed."""
    body = """
    servers, closed = [], []

    class Target(ResilientSTT):
        async def aclose(self):
            await super().aclose()
            closed.append(all(c.closed is None for c in servers[0].connections))

    async def test_fails(fake_cartesia, fake_deepgram, play_speech):
        servers.extend([fake_cartesia, fake_deepgram])
        target = Target([fake_cartesia.stt(), fake_deepgram.stt()])
        fake_cartesia.faults = [HalfOpen(at_word=3)]
        async with asyncio.timeout(3.0):
            await play_speech(target)

    async def test_after():
        assert len(asyncio.all_tasks()) == 1
        assert all("stopped" in repr(server) for server in servers)
        assert all(c.closed is not None for server in servers for c in server.connections)
        assert closed == [True]
    """
    run = suite(MARKED + dedent(body))
    run.assert_outcomes(passed=1, failed=1)
    run.stdout.fnmatch_lines(["E*TimeoutError"])


# -- what is documented


@pytest.mark.parametrize("name", resilient_stt.testing.__all__)
def test_every_name_is_documented(name: str) -> None:
    """Every exported name has a docstring."""
    assert vars(resilient_stt.testing)[name].__doc__


def run_module(pytester: pytest.Pytester, module: str) -> pytest.RunResult:
    """Run a module as it is, in pytest-asyncio's default mode."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(module)
    return pytester.runpytest_inprocess(*QUICK)


def test_the_documented_failure(pytester: pytest.Pytester) -> None:
    """The documentation's first test fails as shown there, and passes with `ResilientSTT`."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    module = next(text for _, text in blocks if "stt.FallbackAdapter" in text)
    output = next(text for language, text in blocks if not language and "70 words, " in text)
    run = run_module(pytester, module)
    run.assert_outcomes(failed=1)
    assert output.strip() in run.stdout.str()
    ours = module.replace("stt.FallbackAdapter", "ResilientSTT")
    run = run_module(pytester, f"from resilient_stt import ResilientSTT\n{ours}")
    run.assert_outcomes(passed=1)


def test_the_script_of_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    """The script in the kit's docstring works as it is."""
    documentation = resilient_stt.testing.__doc__
    assert documentation is not None
    exec(dedent(documentation.split("Without pytest::\n")[1]), {"__name__": "script"})
    assert capsys.readouterr().out.startswith("70 words, 4 lost (It is for Thursday)")
