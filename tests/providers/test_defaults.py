"""The names of providers, and the providers made by default."""

from __future__ import annotations

import pytest
from livekit.plugins import cartesia, deepgram

from resilient_stt import ConfigurationError
from resilient_stt.providers.defaults import from_environment, name_providers, plugin_of

from ..support.fakes import FakeSTT


def test_a_plugin_is_called_by_its_package() -> None:
    """Providers of LiveKit's plugins get the name of their package."""
    assert plugin_of(cartesia.STT(model="ink-whisper", api_key="k")) == "cartesia"
    assert plugin_of(deepgram.STT(api_key="k")) == "deepgram"


def test_other_providers_are_called_by_their_vendor_or_class() -> None:
    """Other STTs get the name of the vendor that they report, or of their class."""
    assert plugin_of(FakeSTT(provider="My Own")) == "my-own"
    assert plugin_of(FakeSTT(provider="unknown")) == "fakestt"


def test_names_are_unique() -> None:
    """Equal names are numbered, in the order of the list."""
    given = [FakeSTT(), FakeSTT(provider="Other"), FakeSTT(), FakeSTT(provider="Fake-2")]
    named = name_providers(given)
    assert list(named) == ["fake", "other", "fake-2", "fake-2-2"]
    assert list(named.values()) == given


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty environment variable counts as no API key."""
    monkeypatch.setenv("CARTESIA_API_KEY", "")
    monkeypatch.setenv("DEEPGRAM_API_KEY", "")
    with pytest.raises(ConfigurationError):
        from_environment()
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    assert [plugin_of(p) for p in from_environment()] == ["deepgram"]
