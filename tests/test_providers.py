"""What providers are called, how fast they are fed, and which are made by default."""

from __future__ import annotations

import pytest
from livekit.agents import inference, stt
from livekit.plugins import cartesia, deepgram

from resilient_stt import ConfigurationError, Pace, ResilientSTT
from resilient_stt.core.policy import Provider
from resilient_stt.providers import from_environment, name_providers, plugin_of, traits_of

from .fakes import FakeSTT


def test_a_plugin_is_called_by_its_package() -> None:
    """LiveKit's plugins have the name of their package."""
    assert plugin_of(cartesia.STT(model="ink-whisper", api_key="k")) == "cartesia"
    assert plugin_of(deepgram.STT(api_key="k")) == "deepgram"


def test_others_are_called_by_what_they_tell() -> None:
    """Another STT has the name of its provider, or of its class."""
    assert plugin_of(FakeSTT(provider="My Own")) == "my-own"
    assert plugin_of(FakeSTT(provider="unknown")) == "fakestt"


def test_names_are_unique() -> None:
    """Two of a kind are counted; the order is that of the list."""
    given = [FakeSTT(), FakeSTT(provider="Other"), FakeSTT(), FakeSTT(provider="Fake-2")]
    named = name_providers(given)
    assert list(named) == ["fake", "other", "fake-2", "fake-2-2"]
    assert list(named.values()) == given


class Plugged(FakeSTT):
    """An STT that says it lives in a plugin which we know nothing of."""


Plugged.__module__ = "livekit.plugins.some_vendor.stt"


def test_whisper_is_flushed_at_the_end_of_speech() -> None:
    """ink-whisper says nothing until an utterance ends, and answers a flush."""
    traits = traits_of("mine", cartesia.STT(model="ink-whisper", api_key="k"))
    assert (traits.name, traits.key_variable) == ("mine", "CARTESIA_API_KEY")
    assert traits.pace == Pace(burst=8.0, rate=1.5)
    assert (traits.interims, traits.flushes, traits.finalises_late) == (False, True, True)
    assert (traits.final_after, traits.turn_after) == (1.6, 0.0)


@pytest.mark.parametrize("model", ["ink-whisper", "ink-whisper-2025-06-04"])
def test_dated_models_are_as_their_family(model: str) -> None:
    """A snapshot of a model behaves as the model."""
    assert traits_of("c", cartesia.STT(model=model, api_key="k")).finalises_late


def test_ink_2_finds_the_ends_of_turns_by_itself() -> None:
    """ink-2 gives interim transcripts, ignores a flush, and may keep a turn open for seconds."""
    traits = traits_of("c", cartesia.STT(model="ink-2", api_key="k"))
    assert (traits.interims, traits.flushes, traits.finalises_late) == (True, False, False)
    assert traits.final_after == 1.6
    assert traits.turn_after > 5.6  # its own turn_end_timeout_ms
    assert traits == traits_of("c", cartesia.STT(api_key="k")), "ink-2 is the plugin's default"


def test_deepgram_tells_finals_soon() -> None:
    """Deepgram's nova models give interims, answer a flush, and need none at the end of speech."""
    traits = traits_of("d", deepgram.STT(api_key="k"))
    assert traits.key_variable == "DEEPGRAM_API_KEY"
    assert traits.pace == Pace(burst=8.0, rate=2.0)
    assert (traits.interims, traits.flushes, traits.finalises_late) == (True, True, False)
    assert (traits.final_after, traits.turn_after) == (1.2, 0.0)


def test_interims_that_are_off_are_not_expected() -> None:
    """What the caller has turned off must not count as silence."""
    assert not traits_of("d", deepgram.STT(api_key="k", interim_results=False)).interims


def test_flux_is_not_nova() -> None:
    """Deepgram's Flux is another class of the same plugin: it decides on turns, and is not
    flushed; its key is the same."""
    traits = traits_of("d", deepgram.STTv2(api_key="k"))
    assert traits.key_variable == "DEEPGRAM_API_KEY"
    assert (traits.interims, traits.flushes, traits.finalises_late) == (True, False, False)
    assert traits.turn_after > 5.0  # its eot_timeout_ms
    assert traits.pace == Pace()


def test_an_unknown_plugin_is_taken_at_its_word() -> None:
    """Only its capabilities are known: the rest is careful, and nothing is flushed unasked."""
    careful = traits_of("v", Plugged(provider="Some Vendor"))
    assert (careful.pace, careful.finalises_late) == (Pace(), False)
    assert (careful.interims, careful.flushes, careful.turn_after) == (False, False, 0.0)
    assert careful.final_after > traits_of("c", cartesia.STT(api_key="k")).final_after
    able = traits_of("v", Plugged(interim_results=True, manual_flush=True))
    assert (able.interims, able.flushes) == (True, True)
    assert able.turn_after > 0


def test_what_is_no_plugin_has_no_variable() -> None:
    """Of somebody's own STT nobody knows where its key comes from."""
    assert traits_of("f", FakeSTT()).key_variable == ""
    assert traits_of("f", FakeSTT()) == Provider(name="f", final_after=2.5)


@pytest.mark.virtual_time
async def test_one_that_cannot_stream_is_wrapped() -> None:
    """Cut into utterances by a VAD: finals only, nothing to flush, and time enough for the VAD's
    own silence and the request."""
    batch = FakeSTT(streaming=False, provider="Own")
    vad = inference.VAD()
    adapter = stt.StreamAdapter(stt=batch, vad=vad)
    for provider in (batch, adapter):
        traits = traits_of("own", provider)
        assert (traits.interims, traits.flushes, traits.finalises_late) == (False, False, False)
        assert (traits.final_after, traits.turn_after) == (2.5, 0.0)
    assert plugin_of(adapter) == "own"
    made = ResilientSTT([batch], vad=vad)
    assert made.names == {"own"}
    await made.aclose()
    await adapter.aclose()


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is no key."""
    monkeypatch.setenv("CARTESIA_API_KEY", "")
    monkeypatch.setenv("DEEPGRAM_API_KEY", "")
    with pytest.raises(ConfigurationError):
        from_environment()
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    assert [plugin_of(p) for p in from_environment()] == ["deepgram"]
