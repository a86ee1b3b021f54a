"""Providers by name: which are found, which options fit, and which objects are made."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, NoReturn

import pytest
from livekit.plugins import cartesia, deepgram

from resilient_stt import ConfigurationError
from resilient_stt.errors import NoKey
from resilient_stt.providers.plugins import (
    GROUP,
    NoProvider,
    ProviderFactory,
    checked_options,
    find,
    installed,
    make,
    missing_key,
)

from ..support.fakes import FakeSTT


def own_stt(model: str, *, words: list[str] | None = None) -> FakeSTT:
    """A provider of a user, for an entry point."""
    return FakeSTT(provider=f"own {model} {words}")


def broken_stt() -> None:
    raise AssertionError("never called")


Points = Callable[..., None]


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Points:
    """Install entry points, given by name as `module:attribute`."""

    def install(**values: str) -> None:
        found = EntryPoints(EntryPoint(name, value, GROUP) for name, value in values.items())
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found)

    return install


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a LiveKit plugin with this source."""

    def install(name: str, source: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(source)
        import livekit.plugins

        path = [*livekit.plugins.__path__, str(tmp_path)]
        monkeypatch.setattr(livekit.plugins, "__path__", path)
        monkeypatch.delitem(sys.modules, f"livekit.plugins.{name}", raising=False)

    return install


def test_plugins_that_are_installed() -> None:
    """Installed plugins are found without being imported; the class is STT unless named."""
    assert {"cartesia", "deepgram"} <= set(installed())
    assert find("cartesia") == ProviderFactory("cartesia", "STT", cartesia.STT)
    assert find("deepgram", "STTv2") == ProviderFactory("deepgram", "STTv2", deepgram.STTv2)
    assert find("deepgram", "STTv2").title == "deepgram.STTv2"


def test_an_entry_point(points: Points) -> None:
    """An entry point may be any callable, under its own name."""
    points(**{"my-own": f"{__name__}:own_stt"})
    found = find("my-own")
    assert (found.title, found.make) == ("my-own", own_stt)
    made = make(found, {"model": "a"}, "")
    assert isinstance(made, FakeSTT)
    with pytest.raises(NoProvider, match="'my-own' is an entry point and has no classes") as raised:
        find("my-own", "STT")
    assert raised.value.key == "class"
    with pytest.raises(NoProvider, match="no plugin 'my-onw' is installed; did you mean 'my-own'"):
        find("my-onw")


def test_an_entry_point_that_is_not_callable(points: Points) -> None:
    """An entry point that is not callable is named as such."""
    points(own=f"{__name__}:GROUP", mine=__name__)
    with pytest.raises(NoProvider, match="the entry point 'own' is a text, not a callable that"):
        find("own")
    with pytest.raises(NoProvider, match="the entry point 'mine' is a module, not a callable"):
        find("mine")


def test_an_entry_point_with_the_name_of_a_plugin(points: Points) -> None:
    """A name that is both a plugin and an entry point is refused as ambiguous."""
    points(deepgram=f"{__name__}:own_stt")
    with pytest.raises(NoProvider, match="'deepgram' is both a LiveKit plugin and an entry point"):
        find("deepgram")


def test_a_plugin_that_cannot_be_imported(plugin: Callable[[str, str], None]) -> None:
    """The message names the missing module, and repeats no other text of the error."""
    plugin("halved", "import no_such_module_of_it")
    with pytest.raises(NoProvider) as raised:
        find("halved")
    assert str(raised.value) == (
        "the plugin 'halved' is installed, but cannot be imported: ModuleNotFoundError "
        "(no module no_such_module_of_it)"
    )
    plugin("raising", "raise RuntimeError('s3cr3t')")
    with pytest.raises(NoProvider, match="cannot be imported: RuntimeError"):
        find("raising")
    plugin("leaving", "raise SystemExit('s3cr3t')")
    with pytest.raises(NoProvider, match="cannot be imported: SystemExit"):
        find("leaving")


def test_a_plugin_without_speech_to_text(plugin: Callable[[str, str], None]) -> None:
    """A plugin without speech-to-text is refused; many LiveKit plugins only speak."""
    plugin("speaker", "class TTS: pass")
    with pytest.raises(NoProvider, match="the plugin 'speaker' has no speech-to-text"):
        find("speaker")


def test_other_plugins_are_not_imported(plugin: Callable[[str, str], None]) -> None:
    """Only the plugin that is asked for is imported."""
    plugin("loud", "raise AssertionError")
    find("cartesia")
    assert "livekit.plugins.loud" not in sys.modules


# -- options


def test_options_come_in_the_types_of_the_constructor() -> None:
    """Texts from the environment and lists from YAML are converted to the constructor's types."""
    given = {"sample_rate": "8000", "punctuate": "false", "keywords": [["a", 1]], "tags": ["x"]}
    fitting, wrong = checked_options(find("deepgram"), given)
    assert wrong == {}
    assert fitting == {
        "sample_rate": 8000,
        "punctuate": False,
        "keywords": [("a", 1.0)],
        "tags": ["x"],
    }


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("modle", "x", "cartesia.STT has no option 'modle'; did you mean 'model'?"),
        (
            "colour",
            "x",
            "cartesia.STT has no option 'colour'; there is model, sample_rate, api_key",
        ),
        ("sample_rate", "high", "cartesia.STT's sample_rate should be a valid integer"),
        ("sample_rate", None, "cartesia.STT's sample_rate should be a valid integer"),
        ("keyterm", "one", "cartesia.STT's keyterm should be a valid list"),
        ("turn_end_threshold", [], "cartesia.STT's turn_end_threshold should be a valid number"),
        ("encoding", "mp3", "cartesia.STT's encoding should be 'pcm_s16le'"),
        ("model", 3, "cartesia.STT's model should be a valid string"),
        (
            "http_session",
            1,
            "a configuration cannot contain the http_session of cartesia.STT",
        ),
    ],
)
def test_options_that_do_not_fit(name: str, value: object, told: str) -> None:
    """The message says what is wanted, also where a type is imported for type checkers only."""
    fitting, wrong = checked_options(find("cartesia"), {name: value, "language": "en"})
    assert fitting == {"language": "en"}
    assert list(wrong) == [name]
    assert wrong[name].startswith(told)
    assert "http_session" not in wrong[name] or name == "http_session"


def test_an_option_that_is_needed() -> None:
    """A missing required option is reported before the constructor is called."""
    needed = ProviderFactory("own", "", own_stt)
    assert checked_options(needed, {}) == ({}, {"model": "own needs the option 'model'"})


def test_what_cannot_be_known_is_let_through() -> None:
    """Options are let through where annotations cannot be resolved or any name is taken."""

    def odd(a: NoSuchType, b: list[NoSuchType], c, **more: Any) -> NoReturn:  # type: ignore[no-untyped-def,name-defined]  # noqa: F821
        raise AssertionError

    given = {"a": 1, "b": [2], "c": 3, "d": 4}
    assert checked_options(ProviderFactory("own", "", odd), given) == (given, {})
    assert checked_options(ProviderFactory("own", "", dict), {"a": 1})[1] == {}


# -- making


def test_a_key_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable of the table, or the one that the plugin names."""
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    with pytest.raises(NoKey, match="no key: set DEEPGRAM_API_KEY"):
        make(find("deepgram", "STTv2"), {}, "DEEPGRAM_API_KEY")
    with pytest.raises(NoKey, match="no key: set DEEPGRAM_API_KEY"):
        make(find("deepgram"), {}, "")
    assert missing_key("DEEPGRAM_API_KEY", {"api_key": ""})
    assert not missing_key("DEEPGRAM_API_KEY", {"api_key": "k"})
    assert not missing_key("", {})
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    assert isinstance(make(find("deepgram"), {}, "DEEPGRAM_API_KEY"), deepgram.STT)


def test_a_plugin_that_refuses_its_options() -> None:
    """The plugin's own message is repeated without what is hidden."""
    given = {"model": "ink-whisper", "turn_end_threshold": 0.2, "api_key": "s3cr3t"}
    with pytest.raises(ConfigurationError) as raised:
        make(find("cartesia"), given, "CARTESIA_API_KEY", {"s3cr3t"})
    assert "refuses its options: The 'turn_end_threshold' parameter is only" in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_secrets_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither hidden texts, nor API keys, nor the text of unexpected errors is repeated."""
    monkeypatch.setenv("SOME_API_KEY", "k3y-of-the-environment")

    def refuse(error: BaseException) -> str:
        def own() -> NoReturn:
            raise error

        with pytest.raises(ConfigurationError) as raised:
            make(ProviderFactory("own", "", own), {}, "", {"s3cr3t"})
        return str(raised.value)

    words = "no: s3cr3t, k3y-of-the-environment"
    assert refuse(ValueError(words)) == "own refuses its options: no: ***, ***"
    assert refuse(RuntimeError(words)) == "own cannot be made: RuntimeError"
    assert refuse(SystemExit(words)) == "own cannot be made: SystemExit"
    assert refuse(RuntimeError(f"{words} or OWN_API_KEY")) == "no key: set OWN_API_KEY"
    assert len(refuse(ValueError("x" * 9999))) < 400


def test_an_entry_point_must_return_an_stt() -> None:
    """An entry point that returns anything but an STT is refused."""
    with pytest.raises(
        ConfigurationError, match=r"own gives a number, which is not a livekit\.agents"
    ):
        make(ProviderFactory("own", "", lambda: 3), {}, "")
