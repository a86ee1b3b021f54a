"""`resilient-stt schema`: what an editor needs to help with a configuration."""

from __future__ import annotations

import json

import typer

from ..config.schema import json_schema


def schema() -> None:
    """Print the JSON Schema of a configuration.

    Write it to a file, and name that in the first line of a configuration:
    # yaml-language-server: $schema=stt.schema.json
    """
    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
