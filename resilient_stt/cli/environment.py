"""The environment of the user's worker: what is set, and what his .env files add."""

from __future__ import annotations

from dotenv import load_dotenv

_FILES = (".env.local", ".env")  # as LiveKit's documentation has them; the first one wins


def read_env_files() -> None:
    """Take from the files of the working directory what the environment does not set."""
    for name in _FILES:
        load_dotenv(name, override=False)
