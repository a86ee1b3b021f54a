"""Loads the .env files of the working directory into the environment."""

from __future__ import annotations

from dotenv import load_dotenv

from .command_error import CommandError

_FILES = (".env.local", ".env")  # the names in LiveKit's documentation; the first file wins


def read_env_files() -> None:
    """Set the variables of .env.local and .env that the environment does not set already.

    Raises:
        CommandError: A file cannot be read or is not UTF-8.
    """
    for name in _FILES:
        try:
            load_dotenv(name, override=False)
        except UnicodeDecodeError:
            raise CommandError(f"{name} is not UTF-8; save the file as UTF-8") from None
        except OSError as error:
            raise CommandError(f"cannot read {name}: {error.strerror}") from None
