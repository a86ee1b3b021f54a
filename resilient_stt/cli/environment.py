"""The environment of the user's worker: what is set, and what his .env files add."""

from __future__ import annotations

from dotenv import load_dotenv

from .problems import Problem

_FILES = (".env.local", ".env")  # as LiveKit's documentation has them; the first one wins


def read_env_files() -> None:
    """Take from the files of the working directory what the environment does not set.

    Raises:
        Problem: one of them cannot be read.
    """
    for name in _FILES:
        try:
            load_dotenv(name, override=False)
        except UnicodeDecodeError:
            raise Problem(f"{name}: not UTF-8; save the file as UTF-8") from None
        except OSError as error:
            raise Problem(f"{name}: cannot be read: {error.strerror}") from None
