"""Which providers are the same one to a fleet: who shares its health with whom."""

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

_KEYS = ("api_key", "auth_token", "token", "access_token", "credentials_info", "credentials_file")
_ADDRESSES = (
    "base_url",
    "endpoint_url",
    "ws_base_url",
    "api_url",
    "http_url",
    "region",
    "location",
)


def provider_key(provider: stt.STT[Any], options: Mapping[str, Any], variable: str) -> str:
    """The name that a provider has in every process: `cartesia:ink-whisper:3f5a9d21c07b64e8`.

    Its end is a digest of plugin, class, model, address, credential and language, as far as they
    can be known: the credential itself cannot be got back from it, nor from anything that is kept.

    Args:
        provider: the object that was made; plugins keep what they were given.
        options: what it was configured with, where the object does not tell.
        variable: the environment variable that holds its key by convention; may be empty.
    """
    plugin, model = plugin_of(provider), provider.model
    parts = [
        plugin,
        type(provider).__name__,
        model,
        _known(provider, options, _ADDRESSES),
        _known(provider, options, _KEYS) or os.environ.get(variable, ""),
        _known(provider, options, ("language",)),
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return ":".join([_plain(plugin), _plain(model), digest])


def _known(provider: stt.STT[Any], options: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of these options that has a value, as text; LiveKit's interface tells none, so look
    at where its plugins keep them."""
    for name in names:
        for value in (*kept(provider, name), options.get(name)):
            if value and is_given(value):
                return str(value)
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:64]
