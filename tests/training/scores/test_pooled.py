"""Groups of runs: seeds are averaged, folds are put together."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.cli import main
from napari_hmkd.training.scores.paired import paired
from napari_hmkd.training.scores.pooled import compare_groups, read_groups

N = 60


@pytest.fixture
def answers(graded):
    """Tiles, and logits of three seeds of a good and of a poor approach."""
    tiles, logits = graded(N)
    rng = np.random.default_rng(5)
    noisy = [logits + rng.normal(0, spread, (N, 4)) for spread in (1, 1, 1, 6, 6, 6)]
    return tiles, noisy[:3], noisy[3:]


def test_runs_over_the_same_tiles_are_seeds(answers, write_run, tmp_path: Path) -> None:
    tiles, good, poor = answers
    groups = {
        name: [write_run(tmp_path / f"{name} {i}", tiles, one) for i, one in enumerate(logits)]
        for name, logits in (("arm", poor), ("gut", good))
    }
    found = compare_groups(groups)
    truth, patients = np.array([t.grade for t in tiles]), [t.patient for t in tiles]
    grades = {"arm": [x.argmax(1) for x in poor], "gut": [x.argmax(1) for x in good]}
    wanted = paired(grades, truth, patients, "arm")
    assert found["scores"] == wanted["scores"]
    assert found["differences"] == wanted["differences"]
    assert found["differences"]["gut"]["kappa"]["value"] > 0
    split = [remark for remark in found["remarks"] if remark.endswith(": drawn")]
    assert split == ["all runs: drawn"]
    assert all(remark.startswith("all runs: ") for remark in found["remarks"])


@pytest.mark.parametrize("seeds", [1, 2])
def test_runs_that_share_no_tile_are_folds_of_one_answer(
    answers, write_run, tmp_path: Path, seeds: int
) -> None:
    tiles, good, _ = answers
    fold = np.array([int(tile.patient[1:]) % 3 for tile in tiles])
    parts = [
        write_run(
            tmp_path / f"{f}-{s}", [t for t, at in zip(tiles, fold, strict=True) if at == f],
            good[s][fold == f],
        )
        for f in (2, 0, 1) for s in range(seeds)
    ]  # fmt: skip
    whole = [write_run(tmp_path / f"ganz {s}", tiles, good[s]) for s in range(seeds)]
    found = compare_groups({"ganz": whole, "in Teilen": parts})
    assert found["scores"]["in Teilen"] == found["scores"]["ganz"]
    assert found["differences"]["in Teilen"]["kappa"]["value"] == 0
    assert found["tiles"] == N
    assert ("over the seeds" in found["intervals"]) == (seeds > 1)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((slice(0, 40), slice(20, 60)), "some tiles in common"),
        ((slice(0, 30), slice(30, 60), slice(0, 30)), "equally many runs of each fold"),
        ((slice(0, 40),), "graded different tiles"),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(
    answers, write_run, tmp_path: Path, parts: tuple[slice, ...], message: str
) -> None:
    tiles, good, _ = answers
    whole = write_run(tmp_path / "ganz", tiles, good[0])
    runs = [
        write_run(tmp_path / f"{i}", tiles[part], good[0][part]) for i, part in enumerate(parts)
    ]
    with pytest.raises(DataError, match=message):
        compare_groups({"a": [whole], "b": runs})


def test_other_labels_and_several_graders_are_refused(answers, write_run, tmp_path: Path) -> None:
    tiles, good, _ = answers
    whole = write_run(tmp_path / "ganz", tiles, good[0])
    other = [replace(tiles[0], grade=3), *tiles[1:]]
    changed = write_run(tmp_path / "anders", other, good[0])
    with pytest.raises(DataError, match="other labels or patients"):
        compare_groups({"a": [whole], "b": [changed]})
    several = write_run(tmp_path / "mehrere", tiles, good[0], oracle=True)
    with pytest.raises(DataError, match="several graders, student, oracle"):
        compare_groups({"a": [several]})


@pytest.mark.parametrize("change", [{"grade": 3}, {"patient": "another"}])
def test_seeds_of_a_group_with_other_labels_or_patients_are_refused(
    answers, write_run, tmp_path: Path, change: dict[str, object]
) -> None:
    tiles, good, _ = answers
    runs = [
        write_run(tmp_path / "a", tiles, good[0]),
        write_run(tmp_path / "b", [replace(tiles[0], **change), *tiles[1:]], good[1]),
    ]
    with pytest.raises(
        DataError, match="runs of the group b know the tile Gewebe 000 with other labels"
    ):
        compare_groups({"b": runs})


@pytest.mark.parametrize("second", [slice(0, 30), slice(30, 60)], ids=["seeds", "folds"])
def test_a_group_of_test_and_training_parts_is_refused(
    answers, write_run, tmp_path: Path, second: slice
) -> None:
    tiles, good, _ = answers
    tested = write_run(tmp_path / "a", tiles[:30], good[0][:30])
    learned = write_run(tmp_path / "b", tiles[second], good[1][second], part="train")
    with pytest.raises(DataError, match="test, train"):
        compare_groups({"b": [tested, learned]})


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (("=laeufe/a",), "=laeufe/a has no name"),
        (("a=x", "y"), "y is among groups, but has no name: write NAME=y"),
        (("a=",), "a= names no run"),
        (("a=x,,y",), "a=x,,y names no run, or has a comma too many"),
        (("a=x", "b=y", "a=z"), "two groups are called a"),
    ],
)
def test_groups_without_a_name_or_run_and_two_of_one_name_are_refused(
    named: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_groups(named)


def test_a_run_named_twice_is_not_two_seeds(answers, write_run, tmp_path: Path, capsys) -> None:
    tiles, (first, second, _), _ = answers
    once, other = write_run(tmp_path / "a", tiles, first), write_run(tmp_path / "b", tiles, second)
    elsewise = tmp_path / "b" / ".." / "a"
    with pytest.raises(SystemExit) as ended:
        main(["compare", f"arm={other}", f"gut={once},{other},{elsewise}"])
    assert ended.value.code == 2
    assert f"the group gut has {once} more than once" in capsys.readouterr().err


def test_a_run_among_groups_is_told_to_lack_a_name(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", f"arm={tmp_path}", str(tmp_path)])
    assert ended.value.code == 2
    assert f"write NAME={tmp_path}" in capsys.readouterr().err


def test_the_command_takes_groups_by_name(answers, write_run, tmp_path: Path, capsys) -> None:
    tiles, good, poor = answers
    named = [
        f"{name}={','.join(str(write_run(tmp_path / f'{name}{i}', tiles, x)) for i, x in enumerate(logits))}"
        for name, logits in (("alone", poor), ("HM-KD", good))
    ]
    with pytest.raises(SystemExit) as ended:
        main(["compare", *named])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for words in ("HM-KD", "less alone", "of each run", "and over the seeds of each group"):
        assert words in printed


def test_a_name_that_the_output_cannot_hold_is_printed_in_escapes(
    answers, write_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that Windows puts output into is in its code page, and has no letter beyond."""
    tiles, (good, *_), (poor, *_) = answers
    runs = [
        f"{name}={write_run(tmp_path / name, tiles, x)}" for name, x in (("κ", good), ("ü", poor))
    ]
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding="cp1252"))
    with pytest.raises(SystemExit) as ended:
        main(["compare", *runs])
    sys.stdout.flush()
    assert ended.value.code == 0
    shown = file.getvalue().decode("cp1252")
    assert r"\u03ba" in shown
    assert "ü" in shown
