"""The pytest plugin of `resilient_stt.testing`: its fixtures and the mark `stt_virtual_time`.

It is a module outside the package, like Hypothesis's plugin, because pytest loads it in every run
where the package is installed, and importing anything in the package imports LiveKit, which takes
seconds. Everything else is imported when a test asks for the first fixture. So other suites do not
pay for it, and pytest-cov, which starts after plugins are loaded, measures the whole package.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    import asyncio

    import aiohttp

    from resilient_stt.testing import (
        FakeAssemblyAI,
        FakeAzure,
        FakeCartesia,
        FakeDeepgram,
        FakeElevenLabs,
        FakeFlux,
        FakeGladia,
        FakeGoogle,
        FakeInference,
        FakeOpenAI,
        FakeSarvam,
        FakeSoniox,
        FakeSpeechmatics,
        FakeXAI,
        PlaySpeech,
        ReferenceSpeech,
    )
    from resilient_stt.testing.plugin import Bench

_MARK = "stt_virtual_time"
_HOOK = "pytest_asyncio_loop_factories"
_FAKE = "fake_"
_ON_ANYIO = "_resilient_stt_bench_on_anyio"
_ON_ASYNCIO = "_resilient_stt_bench_on_asyncio"
_Scope = Literal["function", "class", "module", "package", "session"]
_SCOPES: tuple[_Scope, ...] = ("function", "class", "module", "package", "session")
_ADVICE = """\
{what} needs an `async def` test on an event loop that is known here. Either
  pip install "pytest-asyncio>=1.4", and mark the test with `pytest.mark.asyncio` or set
  `asyncio_mode = auto` in pytest's configuration; or
  mark it with `pytest.mark.anyio`, for anyio's plugin."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, and add the fixtures that need pytest-asyncio if it is installed."""
    config.addinivalue_line(
        "markers", f"{_MARK}: run the test on an event loop whose clock jumps over waiting"
    )
    if _has_pytest_asyncio(config):
        config.pluginmanager.register(_asyncio_fixtures(), "resilient_stt_on_asyncio")


def _has_pytest_asyncio(config: pytest.Config) -> bool:
    """Whether pytest-asyncio is active, in a version that lets other plugins choose the loop."""
    hook = getattr(config.hook, _HOOK, None)
    return hook is not None and bool(hook.has_spec())


# --- isolation ---


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let no test begin with the health that an earlier one left in the process."""
    memory = sys.modules.get("resilient_stt.fleet.memory")
    if memory is not None:
        memory.forget_health()


# --- virtual time ---


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, None, None]:
    """Give a test with the mark its event loop, for pytest-asyncio and anyio.

    If any plugin implements the hook, pytest-asyncio asks it for the loop of *every* test of the
    suite. So the hook is registered only for this moment, and other tests are left alone.
    """
    if metafunc.definition.get_closest_marker(_MARK) is None:
        return (yield)
    on_anyio, on_asyncio = _runs_on_anyio(metafunc), _has_pytest_asyncio(metafunc.config)
    if not on_anyio and not on_asyncio and inspect.iscoroutinefunction(metafunc.function):
        pytest.fail(_ADVICE.format(what=f"The mark `{_MARK}`"), pytrace=False)
    if on_anyio:
        metafunc.definition.add_marker(_anyio_on_virtual_time())
    if not on_asyncio:
        return (yield)
    factories = _LoopFactories()
    metafunc.config.pluginmanager.register(factories)
    try:
        return (yield)
    finally:
        metafunc.config.pluginmanager.unregister(factories)


def _runs_on_anyio(test: pytest.Metafunc | pytest.FixtureRequest) -> bool:
    return "anyio_backend" in test.fixturenames


def _anyio_on_virtual_time() -> pytest.MarkDecorator:
    backend = ("asyncio", {"loop_factory": _virtual_time_loop()})
    return pytest.mark.parametrize("anyio_backend", [backend], ids=["virtual"])


class _LoopFactories:
    """pytest-asyncio's hook, for tests in virtual time."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_asyncio_loop_factories(self) -> Mapping[str, Callable[[], asyncio.BaseEventLoop]]:
        return {"virtual": _virtual_time_loop()}


def _virtual_time_loop() -> Callable[[], asyncio.BaseEventLoop]:
    from resilient_stt.testing.harness.clock import VirtualTimeLoop

    return VirtualTimeLoop


# --- what the fixtures share; it lives on the loop of the test ---


def _bench() -> Callable[[pytest.FixtureRequest], AsyncIterator[Bench]]:
    """Return a new function each time, because pytest-asyncio stores the loop's scope on it."""

    async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
        from resilient_stt.testing.fakes.registry import FAKES
        from resilient_stt.testing.plugin import Bench

        wanted = [name for name in FAKES if f"{_FAKE}{name}" in request.fixturenames]
        async with Bench.open(wanted) as opened:
            yield opened

    return bench


def _asyncio_fixtures() -> ModuleType:
    """Make the bench's fixtures for pytest-asyncio: one for each scope that a test's loop can
    have."""
    import pytest_asyncio

    plugin = ModuleType(f"{__name__}_on_asyncio")  # pytest looks for fixtures in modules and types
    for scope in _SCOPES:
        name = f"{_ON_ASYNCIO}_{scope}"
        setattr(plugin, name, pytest_asyncio.fixture(_bench(), loop_scope=scope, name=name))
    return plugin


_bench_on_anyio = pytest.fixture(_bench(), name=_ON_ANYIO)


@pytest.fixture
def _resilient_stt_bench(request: pytest.FixtureRequest) -> Bench:
    bench: Bench = request.getfixturevalue(_bench_for(request))
    return bench


def _bench_for(request: pytest.FixtureRequest) -> str:
    """The name of the fixture for the plugin that runs the test, on the loop of the test."""
    mark = request.node.get_closest_marker("asyncio")
    if mark is not None and _has_pytest_asyncio(request.config):
        scope = mark.kwargs.get("loop_scope")
        return f"{_ON_ASYNCIO}_{scope or request.config.getini('asyncio_default_test_loop_scope')}"
    if _runs_on_anyio(request):
        return _ON_ANYIO
    pytest.fail(_ADVICE.format(what="A fixture of `resilient_stt.testing`"), pytrace=False)


# --- the fixtures ---


def _server(bench: Bench, name: str) -> Any:
    """The running server of a fixture."""
    if name not in bench.servers:
        pytest.fail(
            f"a test must name the fixture {_FAKE}{name} among its arguments or in "
            "`pytest.mark.usefixtures`: its server starts before the test",
            pytrace=False,
        )
    return bench.servers[name]


@pytest.fixture
def fake_cartesia(_resilient_stt_bench: Bench) -> FakeCartesia:
    """A fake Cartesia on the test's event loop, without faults at first.

    Point a plugin at it with `base_url=fake_cartesia.url` and any `api_key`, or take
    `fake_cartesia.stt()`, which does that. Its clock starts with the test. The other fakes are used
    in the same way.
    """
    server: FakeCartesia = _server(_resilient_stt_bench, "cartesia")
    return server


@pytest.fixture
def fake_deepgram(_resilient_stt_bench: Bench) -> FakeDeepgram:
    """A fake Deepgram on the test's event loop, without faults at first."""
    server: FakeDeepgram = _server(_resilient_stt_bench, "deepgram")
    return server


@pytest.fixture
def fake_assemblyai(_resilient_stt_bench: Bench) -> FakeAssemblyAI:
    """A fake AssemblyAI on the test's event loop, without faults at first."""
    server: FakeAssemblyAI = _server(_resilient_stt_bench, "assemblyai")
    return server


@pytest.fixture
def fake_azure(_resilient_stt_bench: Bench) -> FakeAzure:
    """A fake Azure Speech on the test's event loop, without faults at first.

    It needs `livekit-plugins-azure`, whose native SDK keeps real time: a test in virtual time takes
    as long as its speech.
    """
    server: FakeAzure = _server(_resilient_stt_bench, "azure")
    return server


@pytest.fixture
def fake_elevenlabs(_resilient_stt_bench: Bench) -> FakeElevenLabs:
    """A fake ElevenLabs on the test's event loop, without faults at first."""
    server: FakeElevenLabs = _server(_resilient_stt_bench, "elevenlabs")
    return server


@pytest.fixture
def fake_flux(_resilient_stt_bench: Bench) -> FakeFlux:
    """A fake Deepgram Flux on the test's event loop, without faults at first."""
    server: FakeFlux = _server(_resilient_stt_bench, "flux")
    return server


@pytest.fixture
def fake_gladia(_resilient_stt_bench: Bench) -> FakeGladia:
    """A fake Gladia on the test's event loop, without faults at first."""
    server: FakeGladia = _server(_resilient_stt_bench, "gladia")
    return server


@pytest.fixture
def fake_google(_resilient_stt_bench: Bench) -> FakeGoogle:
    """A fake Google Cloud Speech-to-Text on the test's event loop, without faults at first.

    It needs `livekit-plugins-google`, which has no option for an address: take `fake_google.stt()`.
    """
    server: FakeGoogle = _server(_resilient_stt_bench, "google")
    return server


@pytest.fixture
def fake_inference(_resilient_stt_bench: Bench) -> FakeInference:
    """A fake LiveKit Inference on the test's event loop, without faults at first."""
    server: FakeInference = _server(_resilient_stt_bench, "inference")
    return server


@pytest.fixture
def fake_openai(_resilient_stt_bench: Bench) -> FakeOpenAI:
    """A fake OpenAI on the test's event loop, without faults at first."""
    server: FakeOpenAI = _server(_resilient_stt_bench, "openai")
    return server


@pytest.fixture
def fake_sarvam(_resilient_stt_bench: Bench) -> FakeSarvam:
    """A fake Sarvam on the test's event loop, without faults at first."""
    server: FakeSarvam = _server(_resilient_stt_bench, "sarvam")
    return server


@pytest.fixture
def fake_soniox(_resilient_stt_bench: Bench) -> FakeSoniox:
    """A fake Soniox on the test's event loop, without faults at first."""
    server: FakeSoniox = _server(_resilient_stt_bench, "soniox")
    return server


@pytest.fixture
def fake_speechmatics(_resilient_stt_bench: Bench) -> FakeSpeechmatics:
    """A fake Speechmatics on the test's event loop, without faults at first."""
    server: FakeSpeechmatics = _server(_resilient_stt_bench, "speechmatics")
    return server


@pytest.fixture
def fake_xai(_resilient_stt_bench: Bench) -> FakeXAI:
    """A fake xAI on the test's event loop, without faults at first."""
    server: FakeXAI = _server(_resilient_stt_bench, "xai")
    return server


@pytest.fixture
def livekit_http_session(_resilient_stt_bench: Bench) -> aiohttp.ClientSession:
    """The HTTP session that LiveKit's plugins use in this test, as they do in a worker.

    The other fixtures set it, too. Ask for it if a constructor needs an `http_session`.
    """
    return _resilient_stt_bench.http


@pytest.fixture
def reference_speech() -> ReferenceSpeech:
    """The speech that `play_speech` plays: 70 words of English and a second of silence, 26 s.

    Override it to play another language or an excerpt: `ReferenceSpeech.load("spanish").padded(1)`.
    """
    from resilient_stt.testing.speech.reference import ReferenceSpeech

    return ReferenceSpeech.load("english").padded(1.0)


@pytest.fixture
def play_speech(_resilient_stt_bench: Bench, reference_speech: ReferenceSpeech) -> PlaySpeech:
    """Play `reference_speech` to any LiveKit STT: `played = await play_speech(stt)`.

    It takes the keywords of `resilient_stt.testing.play`, and `speech=` for another speech. The STT
    is closed at the end of the test.
    """

    async def play_speech(target: Any, speech: Any = reference_speech, **options: Any) -> Any:
        return await _resilient_stt_bench.play(target, speech, **options)

    return play_speech
