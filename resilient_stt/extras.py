"""What only a part of the package needs, and the extra of the distribution that brings it."""

from __future__ import annotations

from typing import Literal

Extra = Literal["cli", "local", "testing", "yaml"]

IMPORTED = {
    "av": "av",
    "dotenv": "python-dotenv",
    "rich": "rich",
    "typer": "typer",
    "yaml": "PyYAML",
}
"""The distribution of each module that an extra brings. Whoever only uses `ResilientSTT` imports
none of them."""

IMPORTED_LOCALLY = {"moonshine_voice": "moonshine-voice", "sounddevice": "sounddevice"}
"""The same for the extra `local`: imported where a local recognizer or a microphone is used."""


def install_command(extra: Extra) -> str:
    """Return the pip command that installs an extra."""
    return f'pip install "livekit-resilient-stt[{extra}]"'


def missing(error: ModuleNotFoundError) -> str | None:
    """Return the distribution that an import did not find, if an extra brings it."""
    return IMPORTED.get((error.name or "").partition(".")[0])
