"""Files with a part that a command writes, between two markers."""

from __future__ import annotations

from pathlib import Path

from .command_error import CommandError


def update_marked(path: Path, name: str, text: str) -> None:
    """Replace what stands between the markers `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

    Raises:
        CommandError: The file cannot be read or written, or has no markers.
    """
    begin_marker, end_marker = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    try:
        old = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"cannot read {path}: it is not UTF-8") from None
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    before, begin, rest = old.partition(begin_marker)
    _, end, after = rest.partition(end_marker)
    if not (begin and end):
        raise CommandError(
            f"{path} has no markers for the table; add lines {begin_marker} and {end_marker}"
        )
    try:
        path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
