"""`RedisHealth`: checks the address of a Redis, and makes the clients that reach it."""

from __future__ import annotations

import importlib.util
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
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

    from .operations import FleetOperations

FORMS = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=DB"
"""The forms of a URL, for messages."""
_ENCODE = "write special characters in a user or password as %40 for @, %2F for /"
_DATABASE = re.compile(r"/?|/[0-9]{1,5}")


class RedisHealth(HealthStore):
    """Shares health in Redis, among all processes that use the same one.

    Providers with the same plugin, model, address, key and language share their health. While Redis
    is away, each process decides by its own observations. A stream reads what is known before its
    first connection, and waits `BreakerPolicy.max_store_wait` for that at most; nothing else waits.
    """

    def __init__(self, url: str) -> None:
        """Check the URL; connects to nothing.

        Args:
            url: redis://, rediss:// (TLS) or unix://, with user and password if needed.

        Raises:
            ConfigurationError: the URL is not of that form, or the package `redis` is missing. The
                message contains nothing of the URL, which may hold a password.
        """
        self._url = url
        self._address = _address(_split(url))
        if importlib.util.find_spec("redis") is None:
            raise ConfigurationError(
                'the package redis is missing: pip install "livekit-resilient-stt[redis]"'
            )
        _check_options(url)

    def __repr__(self) -> str:
        return f"RedisHealth({self._address!r})"

    @property
    def address(self) -> str:
        """Its URL without user, password and options, for messages."""
        return self._address

    @asynccontextmanager
    async def operations(self) -> AsyncIterator[FleetOperations]:
        """Connect for an operator, who looks at the fleet and steers it."""
        from .operations import FleetOperations  # no agent needs it

        client = _client(self._url)
        try:
            yield FleetOperations(client)
        finally:
            await client.aclose()

    def sync(self, health: Sequence[tuple[str, ProviderHealth]], max_wait: float) -> HealthSync:
        """Make a sync of providers with all processes that use this Redis."""
        process = secrets.token_hex(8)
        replicas = [
            (key, HealthReplica(one, f"{process}.{number}"))
            for number, (key, one) in enumerate(health)
        ]
        return FleetSync(
            lambda: RedisLink(_client(self._url), replicas),
            [replica for _, replica in replicas],
            self._address,
            max_wait,
        )


def _split(url: object) -> SplitResult:
    """Split a URL into its parts.

    Raises:
        ConfigurationError: it is not the URL of a Redis.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"the URL of a Redis must be a string, such as {FORMS}")
    if re.search(r"[\s\x00-\x1f]", url):
        raise ConfigurationError(f"the URL of a Redis must not contain spaces; {_ENCODE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text repeats parts of the URL
        raise ConfigurationError(
            f"this is not a valid URL of a Redis: write {FORMS}; {_ENCODE}"
        ) from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError(
            "the URL of a Redis must begin with redis://, rediss:// or unix://"
        )
    if parts.fragment or port == 0:
        raise ConfigurationError(f"this is not a valid URL of a Redis: write {FORMS}; {_ENCODE}")
    if parts.scheme == "unix" and (parts.hostname or not parts.path.strip("/")):
        raise ConfigurationError("the URL of a Redis on a socket needs its path: unix:///PATH")
    if parts.scheme != "unix" and not parts.hostname:
        raise ConfigurationError(f"the URL of a Redis needs its host: {FORMS}")
    if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        raise ConfigurationError(
            f"the URL of a Redis must end with the number of a database: {FORMS}; {_ENCODE}"
        )
    return parts


def _address(parts: SplitResult) -> str:
    """A URL without its user, password and options, for logs."""
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _client(url: str) -> Redis:
    """A client that is not connected. It never retries by itself: the sync does that."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # servers of all versions speak it
    )


def _check_options(url: str) -> None:
    """Make a connection object without connecting it, because redis-py checks options there.

    Raises:
        ConfigurationError: redis-py refuses the URL.
    """
    try:
        pool: Any = _client(url).connection_pool
        pool.make_connection()
    except Exception:  # its text may hold any part of the URL
        raise ConfigurationError(
            "the URL of a Redis has options (behind the ?) that redis-py does not accept"
        ) from None
