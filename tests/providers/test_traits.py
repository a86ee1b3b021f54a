"""What is known of models: their pace, flushes, timeouts and languages."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.agents import inference, stt
from livekit.plugins import cartesia, deepgram

from resilient_stt import Pace, ResilientSTT
from resilient_stt.core.policy import ProviderTraits
from resilient_stt.core.routing.language import is_tag
from resilient_stt.providers.defaults import plugin_of
from resilient_stt.providers.model_strings import from_model_string
from resilient_stt.providers.traits import (
    TABLE,
    batch_only,
    language_support,
    model_of,
    supports,
    traits_of,
)

from ..support.fakes import FakeSTT


class Plugged(FakeSTT):
    """An STT of a plugin that is not in the table."""


Plugged.__module__ = "livekit.plugins.some_vendor.stt"


def test_whisper_is_flushed_at_the_end_of_speech() -> None:
    """ink-whisper gives nothing until an utterance ends, and answers a flush."""
    traits = traits_of("mine", cartesia.STT(model="ink-whisper", api_key="k"))
    assert (traits.name, traits.key_variable) == ("mine", "CARTESIA_API_KEY")
    assert traits.pace == Pace(burst=8.0, rate=1.5)
    assert (traits.interim_results, traits.manual_flush, traits.slow_endpointing) == (
        False,
        True,
        True,
    )
    assert (traits.final_timeout, traits.end_of_turn_timeout) == (1.6, 0.0)


@pytest.mark.parametrize("model", ["ink-whisper", "ink-whisper-2025-06-04"])
def test_dated_models_are_as_their_family(model: str) -> None:
    """A snapshot of a model has the traits of the model."""
    assert traits_of("c", cartesia.STT(model=model, api_key="k")).slow_endpointing


def test_ink_2_finds_the_ends_of_turns_by_itself() -> None:
    """ink-2 gives interim transcripts, ignores a flush, and may keep a turn open for seconds."""
    traits = traits_of("c", cartesia.STT(model="ink-2", api_key="k"))
    assert (traits.interim_results, traits.manual_flush, traits.slow_endpointing) == (
        True,
        False,
        False,
    )
    assert traits.final_timeout == 1.6
    assert traits.end_of_turn_timeout > 5.6  # its own turn_end_timeout_ms
    assert traits == traits_of("c", cartesia.STT(api_key="k")), "ink-2 is the plugin's default"


def test_deepgram_is_not_flushed_at_the_end_of_speech() -> None:
    """Deepgram's nova models give interims, answer a flush, and need none at the end of speech."""
    traits = traits_of("d", deepgram.STT(api_key="k"))
    assert traits.key_variable == "DEEPGRAM_API_KEY"
    assert traits.pace == Pace(burst=8.0, rate=2.0)
    assert (traits.interim_results, traits.manual_flush, traits.slow_endpointing) == (
        True,
        True,
        False,
    )
    assert (traits.final_timeout, traits.end_of_turn_timeout) == (1.2, 0.0)


def test_interims_that_are_off_are_not_expected() -> None:
    """Interims that the caller has turned off are not expected."""
    assert not traits_of("d", deepgram.STT(api_key="k", interim_results=False)).interim_results


def test_flux_is_not_nova() -> None:
    """Deepgram's Flux is another class of the same plugin: it detects turns and is not flushed, but
    has the same API key.
    """
    traits = traits_of("d", deepgram.STTv2(api_key="k"))
    assert traits.key_variable == "DEEPGRAM_API_KEY"
    assert (traits.interim_results, traits.manual_flush, traits.slow_endpointing) == (
        True,
        False,
        False,
    )
    assert traits.end_of_turn_timeout > 5.0  # its eot_timeout_ms
    assert traits.final_timeout > 1.0


def test_an_unknown_plugin_is_taken_at_its_word() -> None:
    """Of an unknown plugin only the capabilities count, and it is not flushed unless it says so."""
    careful = traits_of("v", Plugged(provider="Some Vendor"))
    assert (careful.pace, careful.slow_endpointing) == (Pace(), False)
    assert (careful.interim_results, careful.manual_flush, careful.end_of_turn_timeout) == (
        False,
        False,
        0.0,
    )
    assert careful.final_timeout > traits_of("c", cartesia.STT(api_key="k")).final_timeout
    able = traits_of("v", Plugged(interim_results=True, manual_flush=True))
    assert (able.interim_results, able.manual_flush) == (True, True)
    assert able.end_of_turn_timeout > 0


def test_the_variable_of_an_unknown_provider_is_unknown() -> None:
    """The environment variable of a user's own STT is unknown."""
    assert traits_of("f", FakeSTT()).key_variable == ""
    assert traits_of("f", FakeSTT()) == ProviderTraits(name="f", final_timeout=2.5)


@pytest.mark.stt_virtual_time
async def test_a_wrapped_provider() -> None:
    """A wrapped provider gives finals only, cannot be flushed, and gets time for the VAD's own
    silence and the request.
    """
    batch = FakeSTT(streaming=False, provider="Own")
    vad = inference.VAD()
    adapter = stt.StreamAdapter(stt=batch, vad=vad)
    for provider in (batch, adapter):
        traits = traits_of("own", provider)
        assert (traits.interim_results, traits.manual_flush, traits.slow_endpointing) == (
            False,
            False,
            False,
        )
        assert (traits.final_timeout, traits.end_of_turn_timeout) == (2.5, 0.0)
    assert plugin_of(adapter) == "own"
    made = ResilientSTT([batch], vad=vad)
    assert set(made._runtime.providers) == {"own"}
    await made.aclose()
    await adapter.aclose()


@pytest.mark.parametrize(
    ("tag", "is_spoken"),
    [
        *(("es", True), ("es-MX", True), ("ES-mx", True), ("zh-Hant-TW", True), ("zh-x-own", True)),
        *(("e", False), ("esp", False), ("fr", False), ("pt", False), ("pt-PT", False)),
        ("pt-BR", True),
    ],
)
def test_a_language_is_looked_up_by_its_tag(tag: str, is_spoken: bool) -> None:
    """A tag is supported by itself or by a more general one, not by a narrower one (RFC 4647,
    lookup).
    """
    assert supports({"es", "zh", "pt-BR"}, tag) is is_spoken


@pytest.mark.parametrize(
    ("model", "family"),
    [
        *(("nova-3", "nova-3"), ("nova-3-general", "nova-3"), ("nova-3-2025-02-01", "nova-3")),
        *(("nova-3-medical", ""), ("nova-30", ""), ("nova-2", "nova-2"), ("nova-2-phonecall", "")),
        ("my-own-model-id", ""),
    ],
)
def test_models_of_a_family(model: str, family: str) -> None:
    """A snapshot is like its model; the languages of a special model are unknown."""
    known = model_of("deepgram", "STT", model)
    assert known is not None
    assert known.family == family
    assert (known.languages is None) is (family == "")


def test_the_table() -> None:
    """All languages are tags, detected ones are supported, and each class ends with a general
    entry.
    """
    for model in TABLE:
        assert all(is_tag(tag) for tag in model.languages or ())
        assert (model.multi or frozenset()) <= (model.languages or frozenset())
    for plugin in ("cartesia", "deepgram"):
        rest = model_of(plugin, "STT", "of tomorrow")
        assert rest is not None
        assert rest.languages is None


@pytest.mark.parametrize(
    ("language", "model"),
    [("", "ink-2"), ("en-GB", "ink-2"), ("english", "ink-2"), ("es", "ink-whisper")],
)
def test_the_model_that_cartesia_picks(language: str, model: str) -> None:
    """Without a model, the language decides, as in the plugin."""
    assert language_support("cartesia", "STT", {"language": language}, "").model == model
    assert cartesia.STT(language=language or None, api_key="k").model == model


@pytest.mark.parametrize(
    ("options", "detects"),
    [({"language": "multi"}, True), ({"language": "es"}, False)],
)
def test_language_detection_is_known(options: dict[str, Any], detects: bool) -> None:
    """Language detection is known before and after the provider is made."""
    assert language_support("deepgram", "STT", options, "nova-3").language_detection is detects
    assert traits_of("d", deepgram.STT(api_key="k", **options)).language_detection is detects


def test_what_the_stream_of_a_plugin_refuses() -> None:
    """Deepgram's `stream()` raises with `detect_language`."""
    options = {"detect_language": True, "model": "nova-3"}
    assert batch_only("deepgram", "STT", options) == ["detect_language"]
    assert batch_only("deepgram", "STT", {"detect_language": False}) == []
    assert batch_only("deepgram", "STTv2", options) == []
    assert not traits_of("d", deepgram.STT(api_key="k", detect_language=True)).language_detection


@pytest.mark.parametrize("model", ["ink-whisper", "ink-2"])
def test_multi_is_for_models_that_detect_languages(model: str) -> None:
    """`multi` is refused for models known not to take it, and believed for unknown ones."""
    hearing = language_support("cartesia", "STT", {"model": model, "language": "multi"}, "")
    assert (hearing.language_detection, hearing.supports("multi")) == (False, False)
    assert language_support(
        "deepgram", "STT", {"model": "nova-9", "language": "multi"}, ""
    ).language_detection


def test_given_traits_override_the_table() -> None:
    """Given traits override the table, also one half of a pace alone."""
    provider = deepgram.STT(api_key="k")
    reported = traits_of("d", provider, {"pace": {"rate": 3.0}, "final_timeout": 9.0})
    assert reported == replace(
        traits_of("d", provider), pace=Pace(burst=8.0, rate=3.0), final_timeout=9.0
    )


# -- other plugins


@pytest.mark.parametrize("model", ["cartesia/ink-whisper:en", "deepgram/nova-3", "deepgram/flux"])
def test_inference_has_the_traits_of_the_model_behind(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway passes no flush on; the pace and the timeouts are the vendor's."""
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret" * 6)
    traits = traits_of("i", from_model_string(model))
    assert traits.pace.burst == 8.0
    assert not traits.manual_flush
    assert not traits.slow_endpointing
    assert traits.key_variable == "LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
    assert bool(traits.end_of_turn_timeout) is ("flux" in model)


def test_who_must_be_flushed_is_flushed() -> None:
    """A provider that says that it can be flushed gives no final before it is."""
    traits = traits_of("v", Plugged(interim_results=True, manual_flush=True))
    assert (traits.manual_flush, traits.slow_endpointing) == (True, True)


def test_what_cannot_stream_gives_no_interim_transcripts() -> None:
    """Some batch models say that they do; they are cut into utterances, which come as a whole."""
    traits = traits_of("v", Plugged(streaming=False, interim_results=True))
    assert not traits.interim_results
    assert traits.end_of_turn_timeout == 0.0


def test_interims_of_an_unknown_class_are_not_certain() -> None:
    """A plugin's word alone is not; the user's is, and our table's."""
    promising = FakeSTT(interim_results=True)
    assert not traits_of("f", promising).interims_certain
    assert traits_of("f", promising, {"interim_results": True}).interims_certain
    assert traits_of("f", FakeSTT()).interims_certain


@pytest.mark.parametrize(
    ("kept", "detects"),
    [
        ({"language": "multi"}, True),
        ({"language": "unknown"}, True),
        ({"language": "en"}, False),
        ({"language": ["en-US"]}, False),
        ({"language": ["en-US", "de-DE"]}, True),
        ({"languages": ("en-US", "de-DE")}, True),
        ({"language_detection": True}, True),
        ({"language_detection": False}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("holder", ["_opts", "_config", "_params"])
def test_who_detects_languages(holder: str, kept: dict[str, object], detects: bool) -> None:
    """Plugins say so in several ways, and keep it under several names."""
    provider = FakeSTT()
    setattr(provider, holder, SimpleNamespace(**kept))
    assert traits_of("f", provider).language_detection is detects
