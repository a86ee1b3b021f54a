"""A fake provider that is reached by HTTP: websockets, and requests that are posted.

To add a kind of fault that answers requests, add a case to `FakeWebServer._respond`.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web
from multidict import CIMultiDict, MultiDict

from ..faults import Hang, Refuse, Status
from .dialogue import ServerConnection
from .server import FakeServer, Rejection, url_of
from .wires import WebSocketWire, Wire, reset


@dataclass(kw_only=True, repr=False, eq=False)
class FakeWebServer(FakeServer):
    """A provider on loopback whose streams are websockets; see `FakeServer`."""

    path: ClassVar[str]
    base_path: ClassVar[str] = ""
    """The part of `path` that belongs to the plugin's `base_url`."""
    scheme: ClassVar[str] = "http"
    """The scheme of the plugin's `base_url`."""
    other_paths: ClassVar[tuple[str, ...]] = ()
    """Further paths of websockets."""
    post_paths: ClassVar[tuple[str, ...]] = ()
    """Paths to which whole recordings are posted, or requests for a session."""
    subprotocols: ClassVar[tuple[str, ...]] = ()
    """The websocket subprotocols that it knows."""
    wire_class: ClassVar[type[WebSocketWire]] = WebSocketWire
    """How its messages are written to a websocket."""
    request_id_header: ClassVar[str] = "x-request-id"
    max_body: ClassVar[int] = 2 * 1024**3
    """Bytes of a batch request; 2 GB is Deepgram's limit."""

    _transports: set[asyncio.Transport] = field(init=False, default_factory=set)
    _refused: set[str] = field(init=False, default_factory=set)
    """The `Sec-WebSocket-Key`s of refused requests."""
    _runner: web.AppRunner | None = field(init=False, default=None)

    @property
    def url(self) -> str:
        """The `base_url` for the provider's plugin.

        Raises:
            RuntimeError: The server is not running.
        """
        return url_of(self._host, self.port, self.base_path, self.scheme)

    async def _listen(self, host: str, port: int) -> int:
        app = web.Application(client_max_size=self.max_body)
        for path in (self.path, *self.other_paths):
            app.router.add_get(path, self._answer)
        for path in self.post_paths:
            app.router.add_post(path, self._answer)
        # A request that hangs must end when its client disconnects, not only when the server stops.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        return int(runner.addresses[0][1])

    async def _abort(self) -> None:
        assert self._runner is not None
        for transport in self._transports:
            # asyncio raises for a transport that has closed itself after its last byte.
            if transport.get_extra_info("socket").fileno() >= 0:
                transport.abort()
        await self._runner.cleanup()
        self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        if request.headers.get("Sec-WebSocket-Key") in self._refused:
            # aiohttp's client repeats a request that got no response. That is still the same
            # attempt.
            reset(request.transport)
            return web.Response()
        connection = self.resumed(request)
        is_new = connection is None
        if connection is None:
            connection = self._log_connection(
                request.path, MultiDict(request.query), CIMultiDict(request.headers)
            )
        self._transports.add(request.transport)
        try:
            if is_new:
                return await self._respond(request, connection)
            return await self._serve(request, connection)
        except Rejection as rejection:
            connection.end(f"rejected with {rejection.status}")
            return self.rejection(rejection.status, connection.request_id, rejection.message)
        finally:
            self._transports.discard(request.transport)
            if not self.is_awaited(connection):
                connection.end("client vanished")
                connection.closed = self.now

    async def _respond(
        self, request: web.Request, connection: ServerConnection
    ) -> web.StreamResponse:
        """Answer a request with a connect fault, or serve it. A new kind of fault needs a case
        here."""
        assert request.transport is not None
        match self._connect_fault(connection):
            case Refuse():
                connection.end("refused")
                self._refused.add(request.headers.get("Sec-WebSocket-Key", ""))
                reset(request.transport)
                return web.Response()  # is not sent: the connection is gone
            case Hang():
                connection.end("hung")
                await asyncio.Event().wait()
                raise AssertionError("a hung request ends by cancellation")
            case Status(code=code, body=body, headers=headers):
                connection.end(f"status {code}")
                response = self.rejection(code, connection.request_id)
                if body is not None:
                    response.text = body
                response.headers.update(headers)
                return response
            case None:
                return await self._serve(request, connection)
            case other:
                raise AssertionError(f"no hook for {other!r}")

    async def _serve(
        self, request: web.Request, connection: ServerConnection
    ) -> web.StreamResponse:
        self.check(request)
        if request.method == "POST":
            return await self.answer_post(request, connection)
        # The wire answers pings, because a peer that has vanished must not.
        websocket = web.WebSocketResponse(
            compress=False, autoping=False, protocols=self.subprotocols
        )
        websocket.headers[self.request_id_header] = connection.request_id

        async def accept() -> Wire:
            assert request.transport is not None
            await websocket.prepare(request)
            return self.wire_class(websocket, request.transport)

        await self._converse(connection, accept)
        return websocket

    async def answer_post(self, request: web.Request, connection: ServerConnection) -> web.Response:
        """The provider's response to a recording that is to be transcribed, or to a request for a
        session.

        Raises:
            Rejection: The provider does not accept the request.
        """
        raise AssertionError(f"{type(self).__name__} has no endpoint for POST")

    def resumed(self, request: web.Request) -> ServerConnection | None:
        """The connection that a request goes on with, where a provider needs two requests for one:
        a POST that asks for a session, and its websocket. None: a new connection."""
        return None

    def is_awaited(self, connection: ServerConnection) -> bool:
        """Whether a request is expected that goes on with a connection."""
        return False

    @abstractmethod
    def check(self, request: web.Request) -> None:
        """Check the credentials and the query of a request.

        Raises:
            Rejection: The provider does not accept the request.
        """

    def rejection(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        """The provider's response to a request that it does not accept."""
        body = self.error_body(status, request_id, message)
        return web.json_response(body, status=status, headers={self.request_id_header: request_id})

    @abstractmethod
    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        """The JSON of a response with an error status; `message` says more than the status."""
