"""The HTTP endpoint of `serve`: shows faults and connections, and injects faults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ...testing.fakes.server import FakeServer, ServerConnection, TriggeredFault
from .fault_requests import fault_from

PATH = "/faults"

_MOST_SHOWN = 100  # of the connections and of the triggered faults of each provider: the latest

_EXAMPLE = '{"provider": "cartesia", "fault": "stall", "after": 3.0}'


def control_app(servers: Mapping[str, FakeServer]) -> web.Application:
    """Return an application that controls fake providers, given by name.

    - `GET /faults` shows the faults and the connections of all providers.
    - `POST /faults` adds a fault; see `fault_from` for its fields. With `"only_open": true` only
      the connections that are open now have it.
    - `DELETE /faults` removes all faults, or those of one provider with `?provider=NAME`.

    A wrong request is answered with status 400 and `{"error": ...}`, which says what is wrong.
    """
    handlers = _Handlers(servers)
    app = web.Application(middlewares=[_errors_as_json])
    app.router.add_get(PATH, handlers.show)
    app.router.add_post(PATH, handlers.add)
    app.router.add_delete(PATH, handlers.remove)
    return app


class _Handlers:
    """The handlers of the requests; they raise ValueError if a request is wrong."""

    def __init__(self, servers: Mapping[str, FakeServer]) -> None:
        self._servers = servers

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response({name: _state(s) for name, s in self._servers.items()})

    async def add(self, request: web.Request) -> web.Response:
        fields = _parse(await request.read())
        server = self._server(fields.pop("provider", None))
        only_open = fields.pop("only_open", False)
        if not isinstance(only_open, bool):
            raise ValueError(f"only_open must be true or false, not {only_open!r}")
        fault = fault_from(fields.pop("fault", None), fields, now=server.now)
        add = server.trigger if only_open else server.inject
        add(fault)
        return web.json_response({"added": repr(fault)}, status=201)

    async def remove(self, request: web.Request) -> web.Response:
        name = request.query.get("provider")
        servers = self._servers.values() if name is None else [self._server(name)]
        for server in servers:
            server.faults = ()
        return await self.show(request)

    def _server(self, name: object) -> FakeServer:
        if not isinstance(name, str) or name not in self._servers:
            names = ", ".join(self._servers)
            raise ValueError(f"provider must be one of {names}, not {name!r}")
        return self._servers[name]


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response = await handler(request)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    assert isinstance(response, web.StreamResponse)
    return response


def _parse(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error}); send an object such as {_EXAMPLE}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"not a JSON object; send an object such as {_EXAMPLE}")
    return fields


def _state(server: FakeServer) -> dict[str, Any]:
    """Describe a provider; all times are seconds since the server started."""
    return {
        "now": round(server.now, 3),
        "faults": [repr(fault) for fault in server.faults],
        "triggered": [_triggered(fault) for fault in server.triggered[-_MOST_SHOWN:]],
        "connections": [_connection(c) for c in server.connections[-_MOST_SHOWN:]],
    }


def _triggered(triggered: TriggeredFault) -> dict[str, Any]:
    fault, connection, at = triggered
    return {"fault": repr(fault), "connection": connection, "at": round(at, 3)}


def _connection(connection: ServerConnection) -> dict[str, Any]:
    """Describe a connection, without its API key and without what was sent on it."""
    closed = connection.closed
    return {
        "number": connection.index,
        "path": connection.path,
        "opened": round(connection.opened, 3),
        "closed": None if closed is None else round(closed, 3),
        "ended": connection.ended,
        "audio_s": round(connection.audio, 3),
        "texts": len(connection.texts),
        "sent": len(connection.sent),
    }
