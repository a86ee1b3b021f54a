"""What the flight recorder keeps, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError
from ..phrasing import kind_of


@dataclass(frozen=True)
class RecordingOptions:
    """What the flight recorder writes, for `ResilientSTT(record=...)`.

    Raises:
        ConfigurationError: a value is of a wrong type, or a limit is below 1.
    """

    folder: str | Path
    """Where recordings are written; it is made if it does not exist."""
    text: bool = True
    """Whether words are written. Without them, their times, lengths and providers still are."""
    max_recordings: int = 1000
    """Streams that are kept; beyond it, the oldest are deleted. A page may have a megabyte."""
    max_bytes: int = 1_000_000_000
    """Bytes that all recordings of the folder may have; beyond it, the oldest are deleted."""

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | Path) or not str(self.folder):
            raise ConfigurationError(
                f"record must be the path of a folder, not {kind_of(self.folder)}"
            )
        if not isinstance(self.text, bool):
            raise ConfigurationError(f"text must be true or false, not {kind_of(self.text)}")
        for name in ("max_recordings", "max_bytes"):
            limit = getattr(self, name)
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ConfigurationError(f"{name} must be a whole number of at least 1")


def recording_options(record: str | Path | RecordingOptions | None) -> RecordingOptions | None:
    """Return the options that `record=` means; `None` if nothing is recorded.

    Raises:
        ConfigurationError: `record` is something else.
    """
    if record is None or isinstance(record, RecordingOptions):
        return record
    return RecordingOptions(record)
