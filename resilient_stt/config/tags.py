"""Language tags (BCP 47)."""

from __future__ import annotations

from livekit.agents import LanguageCode

from ..core.routing.language import is_tag
from ..phrasing import quoted


def tag_issue(text: str, shown: str) -> str:
    """What is wrong with a language tag, with a suggestion; empty if nothing is.

    `shown` is the text as the message may repeat it.
    """
    if is_tag(text):
        return ""
    normal = str(LanguageCode(text))
    meant = is_tag(normal) and normal != text
    hint = f"; did you mean {quoted(normal)}?" if meant else ", such as es or pt-BR"
    return f"{shown} is not a language tag (BCP 47){hint}"
