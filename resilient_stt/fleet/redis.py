"""The health of a fleet, shared by Redis: its address, and how it is reached."""

from __future__ import annotations

import importlib.util
import re
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from ..core.health.provider import ProviderHealth
from ..core.health.replica import HealthReplica
from ..errors import ConfigurationError
from .link import TIMEOUT, RedisLink
from .store import HealthStore, HealthSync
from .sync import FleetSync

if TYPE_CHECKING:
    from redis.asyncio import Redis

FORMS = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=DB"
_ENCODE = "special characters in a user or password are written as %40 for @, %2F for /"
_DATABASE = re.compile(r"/?|/[0-9]{1,5}")


class RedisHealth(HealthStore):
    """In Redis: all processes with the same provider, model, address, key and language share what
    they know of it. Without Redis each goes on alone; no stream ever waits for it."""

    def __init__(self, url: str) -> None:
        """`url`: redis://, rediss:// (TLS) or unix://, with user and password if there are any.

        Raises:
            ConfigurationError: it is no such URL, or the package is missing. Holds nothing of it.
        """
        self._url = url
        self._address = _address(_split(url))
        if importlib.util.find_spec("redis") is None:
            raise ConfigurationError(
                'Redis needs a package that is missing: pip install "livekit-resilient-stt[redis]"'
            )
        _try(url)

    def __repr__(self) -> str:
        return f"RedisHealth({self._address!r})"

    def sync(self, health: Sequence[tuple[str, ProviderHealth]]) -> HealthSync:
        """Share the health of providers with all processes that have this Redis."""
        process = secrets.token_hex(8)
        members = [
            (key, HealthReplica(one, f"{process}.{number}"))
            for number, (key, one) in enumerate(health)
        ]
        return FleetSync(
            lambda: RedisLink(_client(self._url), members), [m for _, m in members], self._address
        )


def _split(url: object) -> SplitResult:
    """The parts of a URL.

    Raises:
        ConfigurationError: it cannot be one of a Redis.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"the URL of a Redis is a text, such as {FORMS}")
    if re.search(r"[\s\x00-\x1f]", url):
        raise ConfigurationError(f"the URL of a Redis has no spaces in it; {_ENCODE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose text repeats parts of it
        raise ConfigurationError(f"no valid URL of a Redis: it is {FORMS}; {_ENCODE}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("the URL of a Redis begins with redis://, rediss:// or unix://")
    if parts.fragment or port == 0:
        raise ConfigurationError(f"no valid URL of a Redis: it is {FORMS}; {_ENCODE}")
    if parts.scheme == "unix" and (parts.hostname or not parts.path.strip("/")):
        raise ConfigurationError("the URL of a Redis on a socket needs its path: unix:///PATH")
    if parts.scheme != "unix" and not parts.hostname:
        raise ConfigurationError(f"the URL of a Redis needs its host: {FORMS}")
    if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        raise ConfigurationError(f"the URL of a Redis ends with a number: {FORMS}; {_ENCODE}")
    return parts


def _address(parts: SplitResult) -> str:
    """What may be told of a URL: where, but nobody's name or password."""
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _client(url: str) -> Redis:
    """A client that is not connected; it never tries again by itself, and never waits long."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # what servers of all versions speak
    )


def _try(url: str) -> None:
    """Make a connection, without connecting it.

    Raises:
        ConfigurationError: the client refuses the URL.
    """
    try:
        pool: Any = _client(url).connection_pool
        pool.make_connection()
    except Exception:  # whose text may hold any part of the URL
        raise ConfigurationError(
            "the URL of a Redis has options (behind the ?) that redis-py does not know or take"
        ) from None
