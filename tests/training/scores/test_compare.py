"""Runs side by side, and paired differences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.scores.bootstrap import NO_SPREAD
from napari_hmkd.training.scores.compare import compare
from napari_hmkd.training.scores.report import SCALARS
from napari_hmkd.training.scores.tables import print_comparison, print_scores


@pytest.fixture
def runs(tmp_path: Path, graded, write_run) -> list[Path]:
    """Two runs over the same tiles in another order, the second with more noise."""
    tiles, logits = graded(60)
    noise = np.random.default_rng(1).normal(0, 3, logits.shape).astype(np.float32)
    first = write_run(tmp_path / "HM-KD ä", tiles, logits)
    second = write_run(tmp_path / "alone [1]", tiles[::-1], (logits + noise)[::-1])
    return [first, second]


def test_scores_are_those_that_each_run_has_written(runs: list[Path]) -> None:
    found = compare(runs)
    assert list(found["graders"]) == ["HM-KD ä", "alone [1]"]
    for run, name in zip(runs, found["graders"], strict=True):
        written = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        for key in SCALARS:
            assert found["graders"][name][key] == written["graders"]["student"][key]
    assert (found["tiles"], found["patients"], found["part"]) == (60, 10, "test")
    assert found["notice"] == "trained on random numbers, research use only"


def test_what_each_run_says_of_its_split_is_repeated(runs: list[Path]) -> None:
    path = runs[1] / "evaluation.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about |= {
        "split": "not a patient-level split",
        "part_note": "was not checked",
        "teacher_split": "the teacher knows them",
        "accepted_leaks": ["patient Ä is in train and test"],
    }
    path.write_text(json.dumps(about), encoding="utf-8")
    found = compare(runs)
    assert found["part_note"].endswith("; was not checked")
    assert {
        f"{runs[1]}: not a patient-level split",
        f"{runs[1]}: the teacher knows them",
        f"{runs[1]}: a leak was accepted, scores may be too good: patient Ä is in train and test",
    } <= set(found["remarks"])
    assert "training seed" in found["intervals"]


def test_what_each_card_says_of_its_calibration_is_repeated(
    runs: list[Path], tmp_path: Path, graded, write_run, capsys
) -> None:
    everywhere = "grade 3+ belongs to every prediction set: too few calibration tiles had it"
    both = write_run(tmp_path / "both", *graded(60), oracle=True)
    found = compare([*runs, both])
    for remark in (f"{runs[0]}, {runs[1]}: {everywhere}", f"{both}: student: {everywhere}"):
        assert found["remarks"].count(remark) == 1
    print_comparison(found)
    assert capsys.readouterr().out.count(everywhere) == 2


def test_what_all_say_is_told_once(tmp_path: Path, graded, write_run, capsys) -> None:
    runs = [write_run(tmp_path / name, *graded(60)) for name in "abc"]
    print_comparison(compare(runs))
    lines = capsys.readouterr().out.splitlines()
    alike = [line for line in lines if "grade 3+ belongs" in line or "draws show no spread" in line]
    assert [line.partition(":")[0] for line in alike] == ["all runs", "all pairs"]


def test_a_difference_is_that_of_the_scores_and_its_sign_is_first_less_second(runs) -> None:
    found = compare(runs)
    (pair,) = found["differences"]
    assert (pair["a"], pair["b"]) == ("HM-KD ä", "alone [1]")
    accuracy = [scored["accuracy"]["value"] for scored in found["graders"].values()]
    assert pair["accuracy"]["value"] == pytest.approx(accuracy[0] - accuracy[1], abs=2e-4)
    low, high = pair["kappa"]["interval_95"]
    assert low <= pair["kappa"]["value"] <= high
    assert pair["kappa"]["value"] > 0


def test_a_run_differs_from_its_copy_by_nothing(runs, tmp_path, graded, write_run) -> None:
    copy = write_run(tmp_path / "copy", *graded(60))
    (pair,) = compare([runs[0], copy])["differences"]
    assert pair["kappa"] == {"value": 0.0, "interval_95": None, "reason": NO_SPREAD}


def test_one_run_alone_has_scores_and_no_differences(runs: list[Path]) -> None:
    found = compare([runs[0], runs[0]])
    assert list(found["graders"]) == ["HM-KD ä"]
    assert found["differences"] == []


def test_all_graders_of_an_evaluation_are_taken_and_like_names_told_apart(
    runs, tmp_path: Path, graded, write_run
) -> None:
    tiles, logits = graded(60)
    both = write_run(tmp_path / "both", tiles, logits, oracle=True)
    twin = write_run(tmp_path / "deeper" / "both", tiles, logits)
    found = compare([both, twin])
    assert list(found["graders"]) == [f"{both}:student", f"{both}:oracle", f"{twin}"]
    assert len(found["differences"]) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "elsewhere"}, r"different tiles: 2 are in one of them alone, e\.g\. Gewebe 007"),
        ({"grade": 0}, "Gewebe 007 has the grade 3 in .* and 0 in"),
        ({"patient": "Ä1"}, "Gewebe 007 has the patient Ä7 in .* and Ä1 in"),
    ],
)
def test_runs_over_other_tiles_are_refused(
    runs, tmp_path: Path, graded, write_run, change: dict, message: str
) -> None:
    tiles, logits = graded(60)
    tiles[7] = replace(tiles[7], **change)
    with pytest.raises(DataError, match=message):
        compare([runs[0], write_run(tmp_path / "other", tiles, logits)])


def test_a_folder_without_predictions_is_named(runs, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"kein Lauf.predictions\.csv cannot be read"):
        compare([runs[0], tmp_path / "kein Lauf"])


def test_a_spoiled_evaluation_is_named(runs) -> None:
    (runs[1] / "evaluation.json").write_text('{"notice": ', encoding="utf-8")
    with pytest.raises(DataError, match=r"evaluation\.json cannot be read"):
        compare(runs)


def test_no_run_and_no_label_are_refused(tmp_path: Path, graded, write_run) -> None:
    with pytest.raises(DataError, match="at least one run"):
        compare([])
    tiles, logits = graded(8)
    bare = [replace(tile, grade=None) for tile in tiles]
    with pytest.raises(DataError, match="no tile has a label"):
        compare([write_run(tmp_path / "bare", bare, logits)])


def test_the_tables_hold_every_score_and_sentence(runs, capsys) -> None:
    found = compare(runs)
    print_comparison(found)
    print_scores(json.loads((runs[0] / "evaluation.json").read_text(encoding="utf-8")))
    printed = capsys.readouterr().out
    for words in (*SCALARS.values(), "alone [1]", "HM-KD ä - alone [1]", found["notice"], "drawn"):
        assert words in printed
    shown = found["differences"][0]["kappa"]
    assert f"{shown['value']:.3f} [{shown['interval_95'][0]:.3f}" in printed
