"""The page of a recording: one HTML file that needs nothing else, and opens from a disk."""

from __future__ import annotations

import html
from functools import cache
from importlib import resources
from string import Template

from .document import RecordingDocument

_SCRIPTS = ("recording.js", "timeline.js", "panels.js", "controls.js")


def render(data: str, document: RecordingDocument) -> str:
    """Return the page of a document; `data` is the document as JSON."""
    return Template(_asset("page.html")).substitute(
        title=html.escape(f"{document['stream_id']}: {document['result']}"),
        style=_asset("page.css"),
        # within strings of JSON only, where it means the same: no text can end the script element
        data=data.replace("<", "\\u003c"),
        script="\n".join(_asset(name) for name in _SCRIPTS),
    )


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
