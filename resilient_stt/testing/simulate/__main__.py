"""`python -m resilient_stt.testing.simulate`: run many simulated calls."""

from __future__ import annotations

import typer

from .campaign import main

if __name__ == "__main__":  # not in the processes that it starts
    typer.run(main)
