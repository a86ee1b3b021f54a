"""What carries a dialogue between a client and a fake server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import WSMsgType, web

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s

Content = Mapping[str, Any] | str | bytes
"""What a server sends: a message of its provider, or what a fault sends instead of one."""


class Wire(ABC):
    """One connection with a client, as a `Dialogue` uses it: messages, and ways to end."""

    @abstractmethod
    async def read(self, take: Callable[[str | bytes], None]) -> str:
        """Give `take` each message of the client, until the client has ended or vanished.

        Returns:
            How it ended, in a few words.
        """

    @abstractmethod
    async def send(self, content: Content) -> None:
        """Send a message.

        Raises:
            ConnectionError: The client has gone.
        """

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """End the connection as the protocol has it. Codes are those of websockets, or what the
        provider's own `Dialogue` closes with."""

    @abstractmethod
    def reset(self) -> None:
        """End the TCP connection with a reset (RST). Unsent data is discarded."""

    @abstractmethod
    def cut(self) -> None:
        """End the TCP connection (FIN) without a word."""

    @abstractmethod
    def freeze(self) -> None:
        """Read and send nothing more, not even what keeps the connection alive."""


class WebSocketWire(Wire):
    """A websocket of aiohttp's server."""

    def __init__(self, websocket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self._websocket = websocket
        self._transport = transport
        self._is_frozen = False

    async def read(self, take: Callable[[str | bytes], None]) -> str:
        async for message in self._websocket:
            if self._is_frozen:
                await asyncio.Event().wait()  # ends by cancellation
            if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                take(message.data)
            elif message.type is WSMsgType.PING:
                # aiohttp would answer pings itself, but a peer that has vanished must not.
                with contextlib.suppress(ConnectionError):
                    await self._websocket.pong(message.data)
        return f"closed by the client with {self._websocket.close_code}"

    async def send(self, content: Content) -> None:
        if isinstance(content, bytes):
            await self._websocket.send_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            await self._websocket.send_str(text)

    async def close(self, code: int, reason: str) -> None:
        await self._websocket.close(code=code, message=reason.encode())

    def reset(self) -> None:
        reset(self._transport)

    def cut(self) -> None:
        self._transport.abort()

    def freeze(self) -> None:
        self._is_frozen = True
        self._transport.pause_reading()


def reset(transport: asyncio.WriteTransport) -> None:
    """End a TCP connection with a reset (RST) instead of a FIN. Unsent data is discarded."""
    if (raw := transport.get_extra_info("socket")) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
