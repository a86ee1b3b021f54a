"""The mutants of `scripts/mutants.py` apply to the code as it is."""

from __future__ import annotations

from typing import Any

import pytest

from .support.scripts import ROOT, load

mutants = load("scripts/mutants.py")


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_compiles(mutant: Any) -> None:
    """The code that a mutant replaces occurs once in its file, and the result is valid Python."""
    source = (ROOT / mutants.PACKAGE / mutant.file).read_text()
    assert source.count(mutant.old) == 1
    compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")
