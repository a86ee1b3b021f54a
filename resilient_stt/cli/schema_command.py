"""`resilient-stt schema`: prints the JSON Schema with which editors check a configuration."""

from __future__ import annotations

import json

import typer

from ..config.schema import json_schema


def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors.

    Save the output as stt.schema.json and make this the first line of the configuration:

    `# yaml-language-server: $schema=stt.schema.json`
    """
    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
