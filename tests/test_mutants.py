"""The mutants of `scripts/mutants.py` fit the code as it is."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from .support.scripts import ROOT, load

mutants = load("scripts/mutants.py")

SOURCE = """
class Ledger:
    def commit(self, to):
        self.watermark = max(self.watermark, to)
        self.trim(self.watermark - 5)
        match self.role:
            case Role.ACTIVE:
                return to

    @property
    def limit(self):
        return 7

def span(start, end):
    return end - start
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "ledger.py").write_text(SOURCE)
    return tmp_path


def mutated(package: Path, target: str, change: object) -> str:
    path, source = mutants.mutate(mutants.Mutant("broken", target, change), package)
    assert path == package / "ledger.py"
    assert isinstance(source, str)
    return source


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_changes_code_that_exists_and_compiles(mutant: Any) -> None:
    """Each mutant finds what it changes exactly once, and its source is valid Python."""
    path, source = mutants.mutate(mutant, ROOT / mutants.PACKAGE)
    assert source != ast.unparse(ast.parse(path.read_text()))
    compile(source, str(path), "exec")


def test_mutants_have_different_names() -> None:
    """`--only` can select each mutant by its name."""
    names = [mutant.name for mutant in mutants.MUTANTS]
    assert len(set(names)) == len(names)


def test_replace_keeps_what_placeholders_stand_for(package: Path) -> None:
    """A placeholder stands for any expression, and can be used in the replacement."""
    source = mutated(package, "Ledger.commit", mutants.Replace("max(_mark, _new)", "_new + 1"))
    assert "self.watermark = to + 1" in source


def test_replace_matches_a_repeated_placeholder_to_the_same_code(package: Path) -> None:
    """A placeholder that occurs twice stands for the same expression in both places."""
    mutated(package, "span", mutants.Replace("_a - _b", "_b"))
    with pytest.raises(mutants.StaleMutant, match="is there 0 times"):
        mutated(package, "span", mutants.Replace("_a - _a", "_a"))


def test_drop_leaves_out_a_statement(package: Path) -> None:
    """The statement becomes `pass`, whether its structure is a call or an assignment."""
    assert "watermark - 5" not in mutated(package, "Ledger", mutants.Drop("_.trim(_)"))
    assert "max" not in mutated(package, "Ledger", mutants.Drop("_mark = max(_mark, _)"))


def test_replace_case_changes_the_pattern_of_a_case(package: Path) -> None:
    """A `case` gets another pattern, and keeps its body."""
    source = mutated(package, "Ledger", mutants.ReplaceCase("Role.ACTIVE", "Role.HEDGE"))
    assert "case Role.HEDGE:\n                return to" in source


@pytest.mark.parametrize(
    ("target", "call", "value"),
    [("span", "span(2, 5)", 30), ("Ledger.limit", "Ledger().limit", 70)],
)
def test_result_changes_what_a_function_returns(
    package: Path, target: str, call: str, value: int
) -> None:
    """A function or a property returns an expression of what it returned."""
    namespace: dict[str, object] = {}
    exec(mutated(package, target, mutants.Result("result * 10")), namespace)
    assert eval(call, namespace) == value


def test_missing_target_names_what_is_similar(package: Path) -> None:
    """A renamed function is reported with the names that are closest to the old one."""
    with pytest.raises(mutants.StaleMutant, match=r"broken: Ledger\.comit .* Ledger\.commit"):
        mutated(package, "Ledger.comit", mutants.Result("None"))


def test_target_that_exists_twice_is_reported(package: Path) -> None:
    """Two functions of one name are reported with the files that they are in."""
    (package / "other.py").write_text(SOURCE)
    with pytest.raises(
        mutants.StaleMutant, match=r"2 such functions: span in ledger\.py, span in other\.py"
    ):
        mutants.mutate(mutants.Mutant("broken", "span", mutants.Result("None")), package)


def test_a_target_may_have_wildcards(package: Path) -> None:
    """A structure is found wherever it is, if the target leaves open where."""
    assert mutated(package, "*", mutants.Drop("_.trim(_)")) == mutated(
        package, "Ledger.commit", mutants.Drop("_.trim(_)")
    )
    assert "_mutate(span)" in mutated(package, "sp*", mutants.Result("None"))


def test_ambiguous_structure_is_reported(package: Path) -> None:
    """A structure that occurs twice is reported with the places that have it."""
    with pytest.raises(mutants.StaleMutant, match=r"Ledger: .* 3 times, not once\n  Ledger: self"):
        mutated(package, "Ledger", mutants.Replace("self.watermark", "None"))
