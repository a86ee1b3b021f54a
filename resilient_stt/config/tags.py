"""Language tags (BCP 47)."""

from __future__ import annotations

import re

from livekit.agents import LanguageCode

from ..phrasing import quoted

# RFC 5646, without the tags that are kept for old times' sake; 4 letters or more name no language
_TAG = re.compile(
    r"[a-z]{2,3}(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?"
    r"(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?",
    re.IGNORECASE | re.ASCII,
)


def is_tag(text: str) -> bool:
    """Whether a text has the form of a language tag."""
    return _TAG.fullmatch(text) is not None


def tag_mistake(text: str, shown: str) -> str:
    """What is wrong with a language tag, with the one that was meant; empty if nothing is."""
    if is_tag(text):
        return ""
    normal = str(LanguageCode(text))
    meant = is_tag(normal) and normal != text
    hint = f"; did you mean {quoted(normal)}?" if meant else ", such as es or pt-BR"
    return f"{shown} is no language tag (BCP 47){hint}"
