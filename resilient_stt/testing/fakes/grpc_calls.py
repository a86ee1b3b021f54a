"""Streams of gRPC for a fake server: a call as a `Wire`, and TCP connections that can break.

Import it lazily: gRPC comes with `livekit-plugins-google`.

gRPC's own server cannot reset a TCP connection, or leave one unanswered. So its clients connect to
a `Relay`, which passes the bytes on to it, and does that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from .server import LOOPBACK
from .wires import Content, Wire, reset

_CHUNK = 64 * 1024  # bytes
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# https://cloud.google.com/apis/design/errors#handling_errors; 402 is what a project without billing
# gets.
_OF_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    402: grpc.StatusCode.PERMISSION_DENIED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_NORMAL = 1000  # RFC 6455, 7.4.1


def status_code(number: int) -> grpc.StatusCode:
    """The status of gRPC for a number: its own (below 17), an HTTP status, or the close code of a
    websocket."""
    if number in _CODES:
        return _CODES[number]
    if number == _NORMAL:
        return grpc.StatusCode.OK
    if number in _OF_STATUS:
        return _OF_STATUS[number]
    is_clients = 400 <= number < 500
    return grpc.StatusCode.INVALID_ARGUMENT if is_clients else grpc.StatusCode.UNAVAILABLE


class Link:
    """A TCP connection of a client, and the one that it is passed on to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = reader
        self._writers = [writer]
        self._ways: list[asyncio.Task[None]] = []
        self._frozen = False

    def reset(self) -> None:
        """End both connections with a reset."""
        for writer in self._writers:
            reset(writer.transport)

    def cut(self) -> None:
        """End both connections."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Pass nothing more on. Both ends stay connected."""
        self._frozen = True

    async def gone(self) -> None:
        """Wait until the client has gone. What it sends before is not answered."""
        if self._ways:
            await asyncio.wait(self._ways, return_when=asyncio.FIRST_COMPLETED)
        else:
            with contextlib.suppress(ConnectionError):
                while await self._client.read(_CHUNK):
                    pass

    async def run(self, port: int) -> None:
        """Pass bytes on in both directions, until one end closes."""
        server, to_server = await asyncio.open_connection(LOOPBACK, port)
        self._writers.append(to_server)
        self._ways = [
            asyncio.create_task(self._pass(self._client, to_server)),
            asyncio.create_task(self._pass(server, self._writers[0])),
        ]
        try:
            await self.gone()
        finally:
            for way in self._ways:
                way.cancel()
            await asyncio.gather(*self._ways, return_exceptions=True)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                if self._frozen:
                    await asyncio.Event().wait()  # ends by cancellation
                target.write(data)
                await target.drain()

    @property
    def port(self) -> int | None:
        """The port from which the server sees it; None if it was not passed on."""
        return int(self._writers[1].get_extra_info("sockname")[1]) if self._writers[1:] else None


class Relay:
    """Accepts TCP connections and passes them on to a port on loopback.

    Args:
        port: That port.
        admit: Is awaited for each connection before anything is passed on. False: it was ended
            instead, or is never answered.
    """

    def __init__(self, port: int, admit: Callable[[Link], Coroutine[Any, Any, bool]]) -> None:
        self._port = port
        self._admit = admit
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Start; return the port.

        Raises:
            OSError: It cannot listen there.
        """
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Abort all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._links:
            link.cut()

    def link_of(self, peer: str) -> Link:
        """The connection of a client, as gRPC names it: `ipv4:127.0.0.1:PORT`."""
        port = int(peer.rpartition(":")[2])
        return next(link for link in self._links if link.port == port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Here, and not in the task: one that is cancelled before its first step would never end it.
        link = Link(reader, writer)
        self._links.add(link)
        task = asyncio.create_task(self._run(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, link: Link) -> None:
        try:
            if await self._admit(link):
                await link.run(self._port)
        finally:
            link.cut()
            self._links.discard(link)


class CallWire(Wire):
    """A call with streams in both directions.

    Args:
        requests: The client's messages, as gRPC gives them.
        context: The call.
        link: Its TCP connection.
        decode: What a message of the client is: samples as bytes, or a text.
        encode: The bytes of what the server sends.
    """

    def __init__(
        self,
        requests: AsyncIterator[bytes],
        context: Any,
        link: Link,
        decode: Callable[[bytes], str | bytes],
        encode: Callable[[Content], bytes],
    ) -> None:
        self._requests = requests
        self._context = context
        self._link = link
        self._decode = decode
        self._encode = encode
        self._outcome: tuple[grpc.StatusCode, str] = (grpc.StatusCode.OK, "")
        self._ended = asyncio.Event()

    async def accept(self) -> Wire:
        """Answer the request with the initial metadata."""
        await self._context.send_initial_metadata(())
        return self

    async def finish(self) -> None:
        """End the call with the status that the server has closed it with."""
        code, reason = self._outcome
        if code is not grpc.StatusCode.OK:
            await self._context.abort(code, reason)

    async def read(self, take: Callable[[str | bytes], None]) -> str:
        reader = asyncio.create_task(self._read(take))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([reader, ended], return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()
            await ended
        finally:
            for task in (reader, ended):
                task.cancel()
            await asyncio.gather(reader, ended, return_exceptions=True)
        return "ended"

    async def _read(self, take: Callable[[str | bytes], None]) -> None:
        async for request in self._requests:
            take(self._decode(request))
        take("")  # the client sends no more

    async def send(self, content: Content) -> None:
        try:
            await self._context.write(self._encode(content))
        except (grpc.aio.UsageError, asyncio.InvalidStateError, grpc.aio.BaseError) as error:
            raise ConnectionResetError("the call is over") from error

    async def close(self, code: int, reason: str) -> None:
        self._outcome = status_code(code), reason
        self._ended.set()

    def reset(self) -> None:
        self._link.reset()

    def cut(self) -> None:
        self._link.cut()

    def freeze(self) -> None:
        self._link.freeze()


class Methods:
    """The methods of a service; gRPC asks it for the handler of each call.

    Args:
        streams: The names of methods with streams in both directions.
        answer_stream: Serves a call of them, given the name, the requests and the call.
        singles: The names of methods with one request and one response.
        answer_single: The response of a call of them, given the name, the request and the call.
    """

    def __init__(
        self,
        streams: Collection[str],
        answer_stream: Callable[[str, AsyncIterator[bytes], Any], Awaitable[None]],
        singles: Collection[str],
        answer_single: Callable[[str, bytes, Any], Awaitable[bytes]],
    ) -> None:
        self._streams = streams
        self._answer_stream = answer_stream
        self._singles = singles
        self._answer_single = answer_single

    def service(self, call: Any) -> Any:
        """The handler of a call; None if there is no such method."""
        path = call.method

        async def stream(requests: AsyncIterator[bytes], context: Any) -> None:
            await self._answer_stream(path, requests, context)

        async def single(request: bytes, context: Any) -> bytes:
            return await self._answer_single(path, request, context)

        if path in self._streams:
            return grpc.stream_stream_rpc_method_handler(stream)
        if path in self._singles:
            return grpc.unary_unary_rpc_method_handler(single)
        return None
