"""The commands by name. A command is imported when it is run, not for `resilient-stt --help`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, and what the list of commands says of it.

    Attributes:
        module: Its module, relative to this package.
        function: The function in it.
        summary: The first paragraph of the function's docstring.
        hidden: Not listed: other commands start it.
    """

    module: str
    function: str
    summary: str
    hidden: bool = False

    def load(self) -> Callable[..., Any]:
        """Import the module of the command, and with it all that the command needs."""
        function: Callable[..., Any] = getattr(
            import_module(self.module, __package__), self.function
        )
        return function


COMMANDS = {
    "demo": Command(
        ".demo.demo_command",
        "demo",
        "Stream half a minute of speech through Cartesia and Deepgram while they fail.",
    ),
    "transcribe": Command(
        ".transcribe",
        "transcribe",
        "Transcribe an audio file with Cartesia, and with Deepgram when Cartesia fails.",
    ),
    "listen": Command(
        ".listen",
        "listen",
        "Transcribe what the microphone hears, until Ctrl-C.",
    ),
    "chaos": Command(
        ".chaos.chaos_command",
        "chaos",
        "Try every fault on the primary provider, on the fallback and on both, at many moments.",
    ),
    "matrix": Command(
        ".matrix.matrix_command",
        "matrix",
        "Try every fault on every provider: as the primary one, as the fallback, and alone.",
    ),
    "serve": Command(
        ".serve.serve_command",
        "serve",
        "Run fake providers until Ctrl-C, and inject faults over HTTP.",
    ),
    "check": Command(
        ".check",
        "check",
        "Validate a configuration; show its providers, routes, policies and health store.",
    ),
    "health": Command(
        ".fleet_health.health_command",
        "health",
        "Show what all processes know of each provider; lock, unlock or reset one in all of them.",
    ),
    "schema": Command(
        ".schema_command",
        "schema",
        "Print the JSON Schema of the configuration file, for editors.",
    ),
    "page": Command(
        ".page_command",
        "page",
        "Make the page of a recording, beside it.",
    ),
    "serve-fakes": Command(
        ".demo.fake_servers",
        "serve_fakes",
        "Run fake providers until stdin is closed; for `demo`.",
        hidden=True,
    ),
}
"""In the order in which they are listed."""
