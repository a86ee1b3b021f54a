"""Phrases for error messages: values that are short and safe to print, and suggested names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

_LONGEST_QUOTE = 40  # characters


def quoted(value: object) -> str:
    """Return a value as a message shows it: text in quotes and cut, other values as written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_QUOTE else f"{value[:_LONGEST_QUOTE]}...")
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    return shown if len(shown) <= _LONGEST_QUOTE else kind_of(value)


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogate, which can neither be printed nor stored as UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def quoted_key(key: str) -> str:
    """Return an unknown key as a message shows it.

    A key that is not a name is not shown: if a `:` is missing, it contains what should have been
    the value, perhaps a secret.
    """
    return quoted(key) if key.isidentifier() else "that is not a name (is a ':' missing?)"


def kind_of(value: object) -> str:
    """Describe the kind of a value without showing the value."""
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
    """Return the end of a sentence: the valid name most like `name`, else all valid ones."""
    if not valid:
        return ""
    meant = similar(name, valid)
    return f"; did you mean {meant!r}?" if meant else f"; there is {listed(valid)}"


def similar(name: str, valid: Collection[str]) -> str:
    """Return the valid name most like `name`; empty if none is much like it."""
    folded = {v.lower(): v for v in valid}
    close = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def listed(names: Collection[str], most: int = 24) -> str:
    """Join names with commas; of more than `most`, show the first and count the others."""
    ordered = list(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more
