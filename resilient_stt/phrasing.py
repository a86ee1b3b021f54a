"""How values and names are told to a user: short, safe to print, with the nearest valid name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

_LONGEST = 40  # characters of a text that is repeated


def quoted(value: object) -> str:
    """A short value, safe to print: quotes around text, other things as they are written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}...")
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    return shown if len(shown) <= _LONGEST else kind_of(value)


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which nothing can print or store."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def key_told(key: str) -> str:
    """A key that is not known; one that is no name may hold what should have been its value."""
    return quoted(key) if key.isidentifier() else "that is no name (is a ':' missing?)"


def kind_of(value: object) -> str:
    """What a value is, without telling it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def nearest(name: str, valid: Collection[str]) -> str:
    """The end of a sentence: the nearest valid name, else all of them."""
    if not valid:
        return ""
    folded = {v.lower(): v for v in valid}
    close = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; there is {listed(valid)}"


def listed(names: Collection[str], most: int = 24) -> str:
    """Names with commas; of many only the first."""
    ordered = list(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
