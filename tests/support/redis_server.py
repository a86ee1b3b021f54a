"""A real Redis for a test: started, killed, started again, and gone at its end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError
from redis.retry import Retry

REQUIRED = "CI_REQUIRES_REDIS"
"""Set to 1, a machine without Redis fails; else it skips."""
MISSING = "there is no redis-server on this machine: apt-get install redis-server"
PATIENCE = 10.0  # seconds for a process to start, on a busy machine
SHORT = "/tmp"
"""Where its socket lies, whose path may have 107 characters: nox sets a TMPDIR with more."""


class Server:
    """A redis-server on a socket in a folder, and on a free port; it keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it is, whether it runs or not."""
        return f"unix://{self._path}"

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers; it has forgotten what it knew."""
        keeps_nothing = ("--save", "", "--appendonly", "no", "--dir", str(self._folder))
        reached = ("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self._path))
        says = self._folder / "log"
        with says.open("wb") as log:
            self._process = subprocess.Popen(
                ["redis-server", *keeps_nothing, *reached, *options], stdout=log, stderr=log
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                pytest.fail(f"redis-server does not start:\n{says.read_text()}", pytrace=False)
            time.sleep(0.005)

    def kill(self) -> None:
        """As a machine that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._path.unlink(missing_ok=True)

    def ask(self, *command: str | int, password: str | None = None) -> Any:
        """The answer to one command, over a connection of its own."""
        with self._client(password) as client:
            return client.execute_command(*command)

    def connections(self) -> int:
        """How many there are, but for the one that asks."""
        return len(self.ask("CLIENT", "LIST").splitlines()) - 1

    def everything(self, password: str | None = None) -> dict[str, tuple[Any, int]]:
        """All values by their keys, each with the milliseconds that it has left."""
        found = {}
        with self._client(password) as client:
            for key in client.keys("*"):
                kind = client.type(key)
                value = client.lrange(key, 0, -1) if kind == b"list" else client.get(key)
                found[key.decode()] = (value, client.pttl(key))
        return found

    def _answers(self) -> bool:
        try:
            self.ask("PING")
        except AuthenticationError:
            return True
        except ConnectionError:
            return False
        return True

    def _client(self, password: str | None) -> Redis:
        once = Retry(NoBackoff(), 0)
        return Redis(unix_socket_path=str(self._path), password=password, protocol=2, retry=once)


@pytest.fixture
def redis_server() -> Iterator[Server]:
    """One that runs."""
    if shutil.which("redis-server") is None:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(dir=SHORT) as folder:
        server = Server(Path(folder))
        server.start()
        yield server
        server.kill()
