"""The HTTP endpoint of `serve`: which faults and connections there are, and faults by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ...testing.fakes.server import FakeServer, ServerConnection, TriggeredFault
from .injection import fault_from

PATH = "/faults"

_SHOWN = 100  # connections of each provider, and faults that struck: the latest


def control(servers: Mapping[str, FakeServer]) -> web.Application:
    """Serve the faults and connections of some providers.

    `GET` shows them, `POST` adds a fault, with `only_open` to the connections that are open now
    alone; `DELETE` takes all faults away, those of one `?provider=` if it is given. What cannot be
    done is answered with 400 and an `error` that says why.
    """
    desk = _Desk(servers)
    app = web.Application(middlewares=[_explained])
    app.router.add_get(PATH, desk.show)
    app.router.add_post(PATH, desk.add)
    app.router.add_delete(PATH, desk.clear)
    return app


class _Desk:
    """Does what requests ask for."""

    def __init__(self, servers: Mapping[str, FakeServer]) -> None:
        self._servers = servers

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response({name: _state(s) for name, s in self._servers.items()})

    async def add(self, request: web.Request) -> web.Response:
        asked = _parsed(await request.read())
        server = self._server(asked.pop("provider", None))
        only_open = asked.pop("only_open", False)
        if not isinstance(only_open, bool):
            raise ValueError(f"only_open must be true or false; it is {only_open!r}")
        fault = fault_from(asked.pop("fault", None), asked, now=server.now)
        add = server.trigger if only_open else server.inject
        add(fault)
        return web.json_response({"added": repr(fault)}, status=201)

    async def clear(self, request: web.Request) -> web.Response:
        name = request.query.get("provider")
        servers = self._servers.values() if name is None else [self._server(name)]
        for server in servers:
            server.faults = ()
        return await self.show(request)

    def _server(self, name: object) -> FakeServer:
        if not isinstance(name, str) or name not in self._servers:
            names = ", ".join(self._servers)
            raise ValueError(f"the provider must be one of {names}; it is {name!r}")
        return self._servers[name]


@web.middleware
async def _explained(request: web.Request, handler: Any) -> web.StreamResponse:
    """Tell people what was wrong with their request."""
    try:
        response = await handler(request)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    assert isinstance(response, web.StreamResponse)
    return response


def _parsed(body: bytes) -> dict[str, Any]:
    example = '{"provider": "cartesia", "fault": "stall", "after": 3.0}'
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is no JSON ({error}); send an object such as {example}") from None
    if not isinstance(asked, dict):
        raise ValueError(f"send a JSON object such as {example}")
    return asked


def _state(server: FakeServer) -> dict[str, Any]:
    return {
        "now": round(server.now, 3),
        "faults": [repr(fault) for fault in server.faults],
        "struck": [_told(struck) for struck in server.triggered[-_SHOWN:]],
        "connections": [_shown(c) for c in server.connections[-_SHOWN:]],
    }


def _told(struck: TriggeredFault) -> dict[str, Any]:
    """What happened to which connection, and when, in seconds since the server's start."""
    fault, number, at = struck
    return {"fault": repr(fault), "connection": number, "at": round(at, 3)}


def _shown(connection: ServerConnection) -> dict[str, Any]:
    """A connection without what was said on it; times in seconds since the server's start."""
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
