"""One spelling of a language for a whole stream, whichever provider names it.

A provider calls the same speech `en`, and the next one `en-US`. A consumer who looks voices or turn
detection up by that tag would see the language change in mid-call. So a tag that only is more or
less exact than what the stream has said before is replaced by that. `pt-BR` and `pt-PT` are two
languages, and stay two.
"""

from __future__ import annotations

MAX_LANGUAGES = 64
"""Languages whose spelling a stream remembers: a bound of memory only."""


class LanguageTags:
    """The spellings that a stream has used."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        """The first tag of each primary language."""

    def __repr__(self) -> str:
        return f"LanguageTags({list(self._first.values())})"

    def spelled(self, tag: str, requested: str = "") -> str:
        """Return the stream's spelling of a provider's tag.

        `requested`: the language that the caller asked for, whose spelling comes first; empty if
        none.
        """
        if is_same_language(tag, requested):
            return requested
        primary = _subtags(tag)[0]
        first = self._first.get(primary, "")
        if is_same_language(tag, first):
            return first
        if primary and not first and len(self._first) < MAX_LANGUAGES:
            self._first[primary] = tag
        return tag


def is_same_language(one: str, other: str) -> bool:
    """Whether one tag only adds subtags to the other (RFC 4647), such as `en-US` to `en`."""
    if not (one and other):
        return False
    shared = zip(_subtags(one), _subtags(other), strict=False)
    return all(a == b for a, b in shared)


def _subtags(tag: str) -> list[str]:
    return tag.lower().replace("_", "-").split("-")
