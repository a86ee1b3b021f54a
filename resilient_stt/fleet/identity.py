"""Which providers of two processes or objects are the same one, and so share their health."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from livekit.agents import stt
from livekit.agents.utils import is_given

from ..livekit.compat import kept
from ..providers.defaults import plugin_of

_CREDENTIAL = re.compile(
    r"(?:.*_)?(?:key|token|(?:auth|credentials?|password|secret)(?:_.*)?)", re.DOTALL
)
_ADDRESS = re.compile(
    r"(?:.*_)?(?:address|deployment|domain|endpoint|host|hostname|location|port|project|region"
    r"|resource|server|uri|url)",
    re.DOTALL,
)
"""Names under which plugins keep credentials, and what says where the server is, such as `api_key`,
`credentials_info`, `speech_region`, `ws_base_url`. They are patterns, because every plugin has
names of its own. The last word counts: `key_terms` and `server_vad` are neither."""
_HOLDERS = frozenset({"client", "config", "configuration", "options", "opts", "params", "settings"})
"""Words in the names of the objects that plugins keep options in, beside the plugin itself."""


@dataclass(frozen=True, slots=True)
class ProviderIdentity:
    """The name of a provider that is the same wherever it is made, and what it is built on."""

    key: str
    """For example `cartesia:ink-whisper:3f5a9d21c07b64e8`; see `provider_key`."""
    certain: bool
    """Whether an address or a credential was found. Without, two providers that look alike may well
    be two servers."""

    def numbered(self, number: int) -> ProviderIdentity:
        """The identity of the provider that has this number among those alike in one object.

        Whoever lists a provider twice wants two: if they shared their health, one would not take
        over from the other.
        """
        return dataclasses.replace(self, key=f"{self.key}-{number}") if number > 1 else self


def identify(provider: stt.STT[Any], options: Mapping[str, Any], variable: str) -> ProviderIdentity:
    """Say who a provider is, by plugin, class, model, address, credential and language.

    The key ends with a digest of these, as far as they can be found. The credential cannot be
    computed back from it.

    Args:
        provider: the provider; plugins keep what they were given.
        options: the configured options, for those that the provider does not keep.
        variable: the environment variable with its key by convention; may be empty.
    """
    plugin, model = plugin_of(provider), provider.model
    held = dict(_held(provider))
    addresses = _values(held, _ADDRESS) or _values(options, _ADDRESS)
    credentials = _values(held, _CREDENTIAL) or _values(options, _CREDENTIAL)
    if not credentials and os.environ.get(variable):
        credentials = [os.environ[variable]]
    parts = [
        plugin,
        type(provider).__name__,
        model,
        addresses,
        credentials,
        _language(provider, options),
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    key = ":".join([_plain(plugin), _plain(model), digest])
    return ProviderIdentity(key, certain=bool(addresses or credentials))


def provider_key(provider: stt.STT[Any], options: Mapping[str, Any], variable: str) -> str:
    """The name of a provider that is the same in every process; see `identify`."""
    return identify(provider, options, variable).key


def _held(provider: stt.STT[Any]) -> Iterator[tuple[str, Any]]:
    """What a plugin keeps, and the objects in it that hold its options.

    LiveKit's interface has no way to ask for the server and the account.
    """
    for name, value in _attributes(provider):
        if _HOLDERS.intersection(name.lower().split("_")):
            yield from ((f"{name}.{inner}", of) for inner, of in _attributes(value))
        yield name, value


def _attributes(of: object) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(of):
        yield from ((f.name, getattr(of, f.name, None)) for f in dataclasses.fields(of))
    else:
        yield from list(getattr(of, "__dict__", {}).items())


def _values(held: Mapping[str, Any], names: re.Pattern[str]) -> list[str]:
    """The distinct values under such names, as texts, in a fixed order.

    Only values that are alike in every process: not objects, whose texts contain their addresses.
    """
    found = set()
    for name, value in held.items():
        plain = name.rpartition(".")[2].lower().strip("_")
        if not (names.fullmatch(plain) and value and is_given(value)):
            continue
        if isinstance(value, str | int | os.PathLike) or type(value).__name__ == "URL":
            found.add(str(value))
        elif isinstance(value, Mapping):
            found.add(json.dumps(value, sort_keys=True, default=lambda _: ""))
    return sorted(found)


def _language(provider: stt.STT[Any], options: Mapping[str, Any]) -> str:
    for value in (*kept(provider, "language"), options.get("language")):
        if value and is_given(value):
            return str(value)
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:64]
