"""A real Redis for tests, which they can kill and start again."""

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
"""If this variable is 1, tests fail on a machine without Redis; otherwise they are skipped."""
MISSING = "redis-server is not installed: apt-get install redis-server"
PATIENCE = 10.0  # seconds for the process to start on a busy machine
SHORT = "/tmp"
"""The folder for its socket. A socket's path may have 107 characters; nox sets a longer TMPDIR."""


class Server:
    """A redis-server on a socket in `folder` and on a free port; it stores nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Its URL, whether it runs or not."""
        return f"unix://{self._path}"

    def start(self, *options: str) -> None:
        """Start it with no data, and wait until it answers."""
        no_persistence = ("--save", "", "--appendonly", "no", "--dir", str(self._folder))
        addresses = (
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            str(self._path),
        )
        log_file = self._folder / "log"
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(
                ["redis-server", *no_persistence, *addresses, *options], stdout=log, stderr=log
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                pytest.fail(f"redis-server does not start:\n{log_file.read_text()}", pytrace=False)
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill it, like a machine that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._path.unlink(missing_ok=True)

    def ask(self, *command: str | int, password: str | None = None) -> Any:
        """Run one command over a new connection, and return the answer."""
        with self._client(password) as client:
            return client.execute_command(*command)

    def connections(self) -> int:
        """The number of open connections, without the one that asks."""
        return len(self.ask("CLIENT", "LIST").splitlines()) - 1

    def everything(self, password: str | None = None) -> dict[str, tuple[Any, int]]:
        """(value, milliseconds until it expires) of every key."""
        found = {}
        with self._client(password) as client:
            for key in client.keys("*"):
                kind = client.type(key)
                read = {b"list": client.lrange, b"zset": client.zrange}.get(kind)
                value = read(key, 0, -1) if read else client.get(key)
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
    """A running server; killed after the test."""
    if shutil.which("redis-server") is None:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(dir=SHORT) as folder:
        server = Server(Path(folder))
        server.start()
        yield server
        server.kill()
