"""Commands that go to Redis together, and the names of the keys that they are about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.health.report import ClockSample
from .wire import PREFIX

if TYPE_CHECKING:
    from redis.asyncio import Redis


class ProviderKeys(NamedTuple):
    """The keys of one provider."""

    report: str
    failures: str
    texts: str
    samples: str
    lease: str
    lock: str

    @classmethod
    def of(cls, provider: str) -> ProviderKeys:
        return cls(*(f"{PREFIX}{provider}:{what}" for what in cls._fields))


class RoundTrip:
    """Commands that are sent together, each with a callback for its reply."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self.sent = loop.time()
        self.clock = ClockSample(0, self.sent, self.sent)
        """Redis's clock; valid in callbacks, because its command is the first one."""
        self._commands: list[tuple[str | int, ...]] = []
        self._callbacks: list[Callable[[Any], None]] = []
        self._error: Exception | None = None
        self.add_required(self._clock_read, "TIME")

    def add_required(self, callback: Callable[[Any], None], *command: str | int) -> None:
        """Add a command. If Redis refuses it, `run` raises, and the callback is not called."""

        def replied(reply: Any) -> None:
            if isinstance(reply, Exception):
                self._error = self._error or reply
            else:
                callback(reply)

        self.add_optional(replied, *command)

    def add_optional(self, callback: Callable[[Any], None], *command: str | int) -> None:
        """Add a command. If Redis refuses it, the callback gets the exception as the reply."""
        self._commands.append(command)
        self._callbacks.append(callback)

    async def run(self, client: Redis) -> ClockSample:
        """Send all commands, call all callbacks, and return Redis's clock.

        Raises:
            Exception: Redis does not answer, or has refused a required command. In the latter case
                all callbacks have been called.
        """
        pipeline = client.pipeline(transaction=False)
        for command in self._commands:
            pipeline.execute_command(*command)
        replies = await pipeline.execute(raise_on_error=False)
        for callback, reply in zip(self._callbacks, replies, strict=True):
            callback(reply)
        if self._error is not None:
            raise self._error
        return self.clock

    def _clock_read(self, reply: Any) -> None:
        seconds, microseconds = reply
        stamp = int(seconds) * 1_000_000 + int(microseconds)
        self.clock = ClockSample(stamp, self.sent, self._time())
