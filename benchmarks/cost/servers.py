"""The kit's fake Cartesia and Deepgram in a process of their own, which ends with its stdin."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from resilient_stt.testing import FakeCartesia, FakeDeepgram, ReferenceSpeech

Addresses = dict[str, str]


@contextlib.contextmanager
def running() -> Iterator[Addresses]:
    """Start the servers; yield their base URLs by name."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cost.servers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


async def _serve() -> None:
    corpus = [ReferenceSpeech.load("english")]
    async with FakeCartesia(corpus=corpus) as cartesia, FakeDeepgram(corpus=corpus) as deepgram:
        sys.stdout.write(json.dumps({"cartesia": cartesia.url, "deepgram": deepgram.url}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_serve())
