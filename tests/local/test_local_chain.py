"""The local provider in a chain, behind two that fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import APIConnectionError

from resilient_stt import (
    ConfigurationError,
    OutageStarted,
    ProviderFailed,
    ResilientSTT,
    Switched,
    local,
)
from resilient_stt.core.policy import ProviderTraits
from resilient_stt.providers.traits import traits_of
from resilient_stt.testing.harness.play import play

from ..support.fakes import (
    Behavior,
    FakeStream,
    FakeSTT,
    collect,
    fails,
    listen,
    stt_error,
    transcribes,
)
from ..support.local_engines import SpeechEngine
from ..support.streams import ENGLISH

pytestmark = pytest.mark.stt_virtual_time

CUT = (ENGLISH.words[16].start + ENGLISH.words[16].end) / 2
"""The middle of a word in mid-sentence."""


def vendor(until: float, is_back: Callable[[], bool] = lambda: False) -> Behavior:
    """Transcribe so many seconds of audio, then drop, and refuse until it is back."""
    behaviors = iter([transcribes(until=until)])

    async def behave(stream: FakeStream) -> None:
        first = next(behaviors, None)
        if first is None:
            first = transcribes() if is_back() else fails(stt_error())
        await first(stream)

    return behave


def chain(*vendors: Behavior) -> tuple[ResilientSTT, list[Any]]:
    providers = [FakeSTT(behavior, provider=f"vendor{i}") for i, behavior in enumerate(vendors)]
    made = ResilientSTT([*providers, local.STT(engine=SpeechEngine())])
    reported: list[Any] = []
    listen(made, reported.append)
    return made, reported


async def test_it_takes_over_in_the_middle_of_a_word() -> None:
    """When all vendors fail for good in mid-word, every word comes once, without an outage."""
    made, reported = chain(vendor(CUT), fails(stt_error()))
    played = await play(made, ENGLISH.padded(1.0))
    assert played.score.ok, played.score
    assert not any(isinstance(event, OutageStarted) for event in reported)
    assert [e.to_provider for e in reported if isinstance(e, Switched)][-1] == "local"
    await made.aclose()


async def test_it_is_left_when_a_vendor_is_back() -> None:
    """The call returns to a vendor long before `failback.min_dwell`, and loses no word."""
    back_at = CUT + 4.0
    clock: list[float] = []
    made, reported = chain(vendor(CUT, lambda: clock[-1] > back_at), fails(stt_error()))
    played = await play(
        made, ENGLISH.padded(1.0), on_event=lambda at, _: clock.append(at), frame_duration=0.02
    )
    assert played.score.ok, played.score
    switches = [
        (e.from_provider, e.to_provider, e.reason) for e in reported if isinstance(e, Switched)
    ]
    assert switches[-1] == ("local", "vendor0", "failback")
    await made.aclose()


def test_its_traits() -> None:
    """It is a last resort, is sent the whole window at once, and answers a flush."""
    traits = traits_of("local", local.STT(engine=SpeechEngine()))
    assert traits.last_resort
    assert traits.pace.burst >= 60
    assert traits.manual_flush
    assert traits.interim_results
    assert traits.interims_certain
    assert not ProviderTraits(name="other").last_resort


def config(tmp_path: Path, options: str = "") -> Path:
    path = tmp_path / "stt.yaml"
    path.write_text(
        f"providers:\n  mine:\n    plugin: local\n{options}"
        "  cloud:\n    plugin: deepgram\n    options: {api_key: k}\n"
    )
    return path


def test_a_configuration_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plugin: local` makes it, with the options of its class."""
    made_of: list[tuple[str, str]] = []

    def make_engine(engine: str, model: str) -> SpeechEngine:
        made_of.append((engine, model))
        return SpeechEngine()

    monkeypatch.setattr("resilient_stt.local.decoding_thread.make_engine", make_engine)
    options = "    options: {engine: sherpa-onnx, model: /models/de}\n"
    made = ResilientSTT.from_config(config(tmp_path, options))
    assert isinstance(made.providers[0], local.STT)
    assert made_of == [("sherpa-onnx", "/models/de")]


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    """Its options are checked like those of a plugin."""
    options = "    options: {engine: whisper}\n"
    with pytest.raises(ConfigurationError, match="'moonshine', 'sherpa-onnx' or 'faster-whisper'"):
        ResilientSTT.from_config(config(tmp_path, options))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    """What the provider says of its model is in the error as it is, with what to do."""
    options = "    options: {engine: sherpa-onnx}\n"
    with pytest.raises(ConfigurationError, match="sherpa") as raised:
        ResilientSTT.from_config(config(tmp_path, options))
    assert "refuses" not in str(raised.value)


async def test_a_language_that_it_does_not_know() -> None:
    """In a call in another language it is refused once, as a plugin is, with advice."""
    made, reported = chain(fails(stt_error()))
    async with made.stream(language="de") as stream:
        for frame in ENGLISH.excerpt(0, 0).padded(1.0).frames():
            stream.push_frame(frame)
        stream.end_input()
        with pytest.raises(APIConnectionError, match="local: does not take the language de"):
            await collect(stream)
    (refused,) = [e for e in reported if isinstance(e, ProviderFailed) and e.provider == "local"]
    assert "leave local out of the route of de" in refused.advice
    await made.aclose()
