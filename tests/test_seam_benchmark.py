"""`benchmarks/seam.py` on a small folder made here counts what is lost, repeated and changed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.testing.harness.score import Final
from resilient_stt.testing.harness.word_folder import CALL, FolderError, read_folder

from .support.scripts import load

seam = load("benchmarks/seam.py")

PLAIN = (
    *("table", "window", "garden", "bridge", "letter", "mirror", "pocket", "rabbit", "silver"),
    *("candle", "morning", "holiday", "factory", "chicken", "village", "blanket", "surgeon"),
    *("promise", "whisper", "kitchen", "mountain", "elephant", "umbrella", "distance"),
)


def sentence(dice: random.Random) -> list[str]:
    """Return some words of which no two in a row are equal."""
    return dice.sample(PLAIN, 7)


def timed(dice: random.Random, *, capitals: bool) -> list[list[Any]]:
    """Return a recording of 80 s: words of 0.3 s in sentences, with pauses of 0.7 s."""
    words: list[list[Any]] = []
    at = 0.5
    while at < 80.0:
        for word in sentence(dice):
            words.append(
                [word.capitalize() if capitals else word, round(at, 3), round(at + 0.3, 3)]
            )
            at += 0.35
        at += 0.7
    return words


def folder_at(path: Path) -> Path:
    """Make a folder of two sets in which two vendors agree but for their capitals."""
    for name in ("talk-1", "talk-2"):
        recording = {
            v: timed(random.Random(name), capitals=v == "Ypsilon") for v in ("X", "Ypsilon")
        }
        path.joinpath(f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(recording).encode()))
    dice = random.Random(4)
    texts = {f"clip{n}": " ".join(sentence(dice)) + "." for n in range(20)}
    upper = {clip: text.upper() for clip, text in texts.items()}
    path.joinpath("texts-en.json").write_text(json.dumps({"X": texts, "Ypsilon": upper}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_at(tmp_path_factory.mktemp("words"))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the folder; returns its status and what it printed."""

    def run(*arguments: str, at: Path = folder) -> tuple[int, str, str]:
        try:
            status = seam.main([str(at), "--jobs", "1", *arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        seam.sets_of.cache_clear()
        return status, *capsys.readouterr()

    return run


ONE_ROW = ("--only", "talk X > Ypsilon", "--times", "both", "--cuts", "3", "--json")


def test_words_that_agree_are_joined_exactly(run: Run) -> None:
    """With two vendors that agree, every cut of both sets is exact, and the same each time."""
    arguments = ("--only", "X > Ypsilon", "--times", "both", "--cuts", "3", "--json")
    status, printed, _ = run(*arguments)
    found = json.loads(printed)
    assert (status, found["kept"]) == (0, True)
    assert [row["row"] for row in found["rows"]] == ["talk X > Ypsilon", "texts-en X > Ypsilon"]
    for row in [*found["rows"], *found["sets"]]:
        assert (row["cuts"], row["exact"]) == (3, 3)
        assert row["lost"] == row["twice"] == row["changed"] == row["longest_run"] == 0
        assert 0.0 < row["delay_p50_s"] <= row["delay_p95_s"] < 20.0
        assert row["replayed_s"] > 0.0
    assert run(*arguments)[1] == printed
    assert run(*arguments, "--seed", "5")[1] != printed


def lose(finals: list[Final], cut: float) -> list[Final]:
    """Leave out the last final before the cut, and the two words at its end."""
    before = [n for n, final in enumerate(finals) if final.at < cut]
    return finals[: before[-1]] + finals[before[-1] + 1 :]


def repeat(finals: list[Final], cut: float) -> list[Final]:
    """Emit the last final before the cut once more."""
    before = [n for n, final in enumerate(finals) if final.at < cut]
    return [*finals[: before[-1] + 1], *finals[before[-1] :]]


def change(finals: list[Final], cut: float) -> list[Final]:
    """Put another word in the place of each word of the last final."""
    last = finals[-1]
    return [*finals[:-1], replace(last, text=" ".join("other" for _ in last.text.split()))]


@pytest.mark.parametrize(
    ("break_it", "count"), [(lose, "lost"), (repeat, "twice"), (change, "changed")]
)
def test_what_goes_wrong_is_counted(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[list[Final], float], list[Final]],
    count: str,
) -> None:
    """Words that are left out, repeated or changed on purpose are counted, and only these."""
    play_call = seam.play_call
    expected = 0

    async def broken(first: Any, second: Any, against: str) -> Any:
        nonlocal expected
        played = await play_call(first, second, against)
        whole = sum(len(final.text.split()) for final in played.finals)
        finals = break_it(played.finals, first.at)
        differs = abs(whole - sum(len(final.text.split()) for final in finals))
        expected += differs or len(played.finals[-1].text.split())
        played.finals = finals
        return played

    monkeypatch.setattr(seam, "play_call", broken)
    status, printed, _ = run(*ONE_ROW)
    (row,) = json.loads(printed)["rows"]
    assert status == 1
    assert row["exact"] == 0
    assert {name: row[name] for name in ("lost", "twice", "changed")} == {
        **dict.fromkeys(("lost", "twice", "changed"), 0),
        count: expected,
    }


def test_the_table_and_the_worst_cuts(run: Run) -> None:
    """Against LiveKit's FallbackAdapter words are lost; the worst cuts are printed with texts."""
    arguments = ("--only", "talk X > Ypsilon", "--cuts", "2", "--against", "fallback")
    status, printed, _ = run(*arguments, "--show", "1")
    assert status == 1
    lines = printed.splitlines()
    assert lines[0].startswith("| set and pair | times | cuts | exact | lost |")
    assert sum(line.startswith("| talk X > Ypsilon |") for line in lines) == 2
    (worst,) = [line for line in lines if line.startswith("talk X > Ypsilon (")]
    assert " lost, " in worst
    assert any(line.startswith("  1: ") for line in lines)
    assert lines[-1].endswith("cuts are exact: the promise is broken")


def test_a_retried_connection_forgets_what_it_heard(run: Run) -> None:
    """A connection that drops once costs words, also if LiveKit runs the same stream again."""
    row = ("--only", "talk X > Ypsilon", "--times", "both", "--cuts", "9", "--json")
    _, printed, _ = run(*row, "--against", "fallback")
    (found,) = json.loads(printed)["rows"]
    assert found["lost"] > 0
    assert found["exact"] < 3  # of the three whose connection drops once, too


def test_a_recognizer_without_times(run: Run) -> None:
    """Rows in which one of the two gives no times are told apart from those in which both do."""
    _, printed, _ = run("--only", "talk X > Ypsilon", "--cuts", "1", "--json")
    assert {row["times"] for row in json.loads(printed)["rows"]} == {"both", "one"}


# --- mistakes


def written(path: Path, name: str, content: str) -> Path:
    path.joinpath(name).write_text(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("none.txt", "", "has no *.json"),
        ("a.json", "{", "a.json cannot be read"),
        ("a.json.gz", "no gzip", "a.json.gz cannot be read"),
        ("a.json", "[]", "a.json must hold an object"),
        ("a.json", '{"X": 5, "Y": 6}', "a.json must hold for each vendor"),
        ("a.json", '{"X": [["so", 1.0]], "Y": []}', "word 0 of 'X' must be [word, start, end]"),
        ("a.json", '{"X": [["so", 2.0, 1.0]]}', "word 0 of 'X' must be [word, start, end]"),
        ("a.json", '{"X": [["so", 1.0, 2.0]]}', "no file with two vendors"),
        ("a.json", '{"X": [["so", 1.0, 2.0]], "Y": [["so", 1.0, 2.0]]}', "20 words"),
        ("t-en.json", '{"X": {"a": "so"}, "Y": {"a": "so"}}', "20 words"),
    ],
)
def test_folders_that_cannot_be_played(
    run: Run, tmp_path: Path, name: str, content: str, expected: str
) -> None:
    """A mistake is one line that says what is wrong and where, and status 2."""
    status, printed, error = run("--cuts", "1", at=written(tmp_path, name, content))
    assert (status, printed) == (2, "")
    assert error.count("\n") == 1
    assert expected in error


def test_mistakes_of_the_command_line(run: Run, tmp_path: Path) -> None:
    """A missing folder, an unknown row and no cuts are told."""
    status, _, error = run(at=tmp_path / "missing")
    assert status == 2
    assert "missing is not a folder" in error
    status, _, error = run("--only", "X > Z")
    assert status == 2
    assert 'no row contains X > Z; there are "talk X > Ypsilon"' in error
    assert run("--cuts", "0")[0] == 2


def test_a_folder_is_read(folder: Path) -> None:
    """Files that differ behind the last hyphen are one set; texts have a language."""
    talk, texts = read_folder(folder)
    assert (talk.name, len(talk.recordings), talk.pairs[0]) == ("talk", 2, ("X", "Ypsilon"))
    assert (texts.name, texts.language) == ("texts-en", "en")
    for found in (talk, texts):
        first, second = found.call("X", "Ypsilon", random.Random(1)) or ((), ())
        assert len(first) == len(second) > 50
        assert all(0.0 <= word.start < word.end <= CALL for word in (*first, *second))
    assert talk.call("X", "Z", random.Random(1)) is None
    with pytest.raises(FolderError):
        read_folder(folder / "talk-1.json.gz")


def test_a_script_without_spaces_is_laid_out(tmp_path: Path) -> None:
    """Of a Chinese text, each character gets a time."""
    texts = {f"clip{n}": "我想预订一张桌子，谢谢。" for n in range(8)}
    written(tmp_path, "texts-zh.json", json.dumps({"X": texts, "Y": texts}))
    (found,) = read_folder(tmp_path)
    call = found.call("X", "Y", random.Random(1))
    assert call is not None
    assert {len(word.text) for word in call[0]} == {1}
