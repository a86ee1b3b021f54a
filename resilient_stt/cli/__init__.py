"""The command line, `resilient-stt`."""

from .app import main

__all__ = ["main"]
