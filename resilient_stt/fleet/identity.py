"""Which providers of two processes are the same one, and so share their health."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from livekit.agents import stt
from livekit.agents.utils import is_given

from ..livekit.compat import kept
from ..providers.defaults import plugin_of

_CREDENTIALS = (
    "api_key",
    "auth_token",
    "token",
    "access_token",
    "credentials_info",
    "credentials_file",
)
"""Names under which LiveKit's plugins take credentials."""
_ADDRESSES = (
    "base_url",
    "endpoint_url",
    "ws_base_url",
    "api_url",
    "http_url",
    "region",
    "location",
)
"""Names under which LiveKit's plugins take the server's address."""


def provider_key(provider: stt.STT[Any], options: Mapping[str, Any], variable: str) -> str:
    """The name of a provider that is the same in every process.

    For example `cartesia:ink-whisper:3f5a9d21c07b64e8`. It ends with a digest of plugin, class,
    model, address, credential and language, as far as they can be found. The credential cannot be
    computed back from it.

    Args:
        provider: the provider; plugins keep what they were given.
        options: the configured options, for those that the provider does not keep.
        variable: the environment variable with its key by convention; may be empty.
    """
    plugin, model = plugin_of(provider), provider.model
    parts = [
        plugin,
        type(provider).__name__,
        model,
        _first_given(provider, options, _ADDRESSES),
        _first_given(provider, options, _CREDENTIALS) or os.environ.get(variable, ""),
        _first_given(provider, options, ("language",)),
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return ":".join([_plain(plugin), _plain(model), digest])


def _first_given(provider: stt.STT[Any], options: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of the named options that has a value, as text; empty if none has.

    LiveKit's interface has no way to ask, so this looks where its plugins keep their options.
    """
    for name in names:
        for value in (*kept(provider, name), options.get(name)):
            if value and is_given(value):
                return str(value)
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:64]
