"""Language tags (BCP 47)."""

from __future__ import annotations

import re

from livekit.agents import LanguageCode

from ..phrasing import quoted

# RFC 5646, without grandfathered tags and without languages of four letters or more, which are
# reserved: such a word is rather the name of a language
_TAG = re.compile(
    r"[a-z]{2,3}(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?"
    r"(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?",
    re.IGNORECASE | re.ASCII,
)


def is_tag(text: str) -> bool:
    """Whether a text has the form of a BCP 47 language tag."""
    return _TAG.fullmatch(text) is not None


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
