"""Whatever providers say and raise, a recording without text repeats none of it."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilient_stt import RecordingOptions, ResilientSTT
from resilient_stt.testing.harness.clock import run_virtual
from resilient_stt.testing.harness.logs import no_logging

from .. import test_private
from ..support.fakes import Behavior
from ..test_private import SECRETS, scripts


def recorded(behaviors: Sequence[Behavior], *, whole: bool, text: bool) -> str:
    """Record a call, and return all that was written of it."""
    with tempfile.TemporaryDirectory() as folder, no_logging():
        options = RecordingOptions(folder, text=text)
        made = functools.partial(ResilientSTT, record=options)
        with mock.patch.object(test_private, "ResilientSTT", made):
            run_virtual(test_private.call(behaviors, [], whole=whole))
        files = [path.read_text(encoding="utf-8") for path in Path(folder).iterdir()]
    assert len(files) == 2
    return "".join(files)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(scripts, min_size=1, max_size=2), st.booleans())
def test_without_text_nothing_is_repeated(behaviors: Sequence[Behavior], whole: bool) -> None:
    """Neither a word of a transcript nor anything of an exception is in the files."""
    written = recorded(behaviors, whole=whole, text=False)
    assert not [secret for secret in SECRETS if secret.lower() in written.lower()]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scripts)
def test_with_text_finals_are_repeated_and_nothing_else(script: test_private.Script) -> None:
    """Text is in the files if a final had it; what exceptions say never is."""
    quiet = test_private.Script([], script.error)
    written = recorded([quiet], whole=True, text=True)
    assert not [secret for secret in SECRETS if secret.lower() in written.lower()]
