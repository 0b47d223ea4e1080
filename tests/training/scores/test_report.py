"""The report of scores: complete, honest about what is undefined, strict JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.training.scores.predictions import Predictions
from napari_hmkd.training.scores.report import (
    PART_NOTES,
    SCALARS,
    footnotes,
    report,
    told_once,
    with_interval,
)
from napari_hmkd.training.scores.strict_json import strict_json


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def strict(found: object) -> dict:
    return json.loads(strict_json(found), parse_constant=refuse_constant)


@pytest.fixture
def scored(graded, card) -> dict:
    tiles, logits = graded(60)
    oracle = Predictions(np.array([tile.grade for tile in tiles]))
    answers = {"oracle": oracle, "student": Predictions.of_network(logits, card)}
    return report(tiles, answers, {"student": card}, part="test", data="random", split="drawn")


def test_every_score_of_a_network_has_a_value_inside_its_interval(scored: dict) -> None:
    student = scored["graders"]["student"]
    rows = [student, *student["per_grade"].values()]
    estimates = [value for row in rows for value in row.values() if "interval_95" in value]
    assert len(estimates) == len(SCALARS) + 4 * 4
    # The card's threshold puts 3+ into every set: nothing is drawn there but 1.
    assert [found["value"] for found in estimates if found["interval_95"] is None] == [1.0]
    for found in estimates:
        low, high = found["interval_95"] or (1.0, 1.0)
        assert low <= found["value"] <= high


def test_the_report_says_what_was_scored(scored: dict) -> None:
    assert (scored["tiles"], scored["patients"]) == (60, 10)
    assert scored["tiles_per_grade"] == {"0": 15, "1+": 15, "2+": 15, "3+": 15}
    assert scored["part_note"] == PART_NOTES["test"]
    assert scored["notice"] == "trained on random numbers, research use only"
    assert (scored["data"], scored["split"]) == ("random", "drawn")
    assert np.sum(scored["graders"]["student"]["confusion"]) == 60
    assert scored["models"]["student"]["temperature"] == 2.0


def test_each_cell_of_the_confusion_has_a_share_and_an_interval(scored: dict) -> None:
    student = scored["graders"]["student"]
    counts = np.array(student["confusion"])
    for label, given in np.ndindex(4, 4):
        cell = student["confusion_shares"][label][given]
        assert cell["value"] == pytest.approx(counts[label, given] / counts[label].sum(), abs=1e-4)
        if 0 < cell["value"] < 1:
            low, high = cell["interval_95"]
            assert low <= cell["value"] <= high


def test_scores_are_those_of_the_answers(graded, card, scored: dict) -> None:
    tiles, logits = graded(60)
    truth = np.array([tile.grade for tile in tiles])
    answers = Predictions.of_network(logits, card)
    student = scored["graders"]["student"]
    assert student["accuracy"]["value"] == pytest.approx(
        (logits.argmax(1) == truth).mean(), abs=1e-4
    )
    held = answers.sets[np.arange(60), truth]
    assert student["coverage"]["value"] == pytest.approx(held.mean(), abs=1e-4)
    of_two = student["per_grade"]["2+"]
    assert of_two["coverage"]["value"] == pytest.approx(held[truth == 2].mean(), abs=1e-4)
    size = answers.sets[truth == 2].sum(1).mean()
    assert of_two["mean_set_size"]["value"] == pytest.approx(size, abs=1e-4)
    metrics = pytest.importorskip("sklearn.metrics")
    area = metrics.roc_auc_score(truth, answers.probabilities, multi_class="ovr", average="macro")
    assert student["auc"]["value"] == pytest.approx(area, abs=1e-4)


def test_reliability_bins_add_up_to_the_calibration_error(scored: dict) -> None:
    student = scored["graders"]["student"]
    for when in ("before", "after"):
        bins = student["reliability"][when]
        assert sum(found["tiles"] for found in bins) == 60
        gaps = [f["tiles"] * abs(f["accuracy"]["value"] - f["confidence"]) for f in bins]
        assert sum(gaps) / 60 == pytest.approx(student[f"ece_{when}"]["value"], abs=1e-3)


def test_a_grader_without_probabilities_has_a_perfect_kappa_and_no_calibration(scored) -> None:
    oracle = scored["graders"]["oracle"]
    assert oracle["quadratic_weighted_kappa"]["value"] == 1.0
    for key in ("auc", "ece_before", "ece_after", "coverage", "mean_set_size"):
        assert oracle[key]["value"] is None
        assert "without probabilities" in oracle[key]["reason"]


def test_what_is_undefined_without_a_grade_is_null_with_the_reason(graded, card) -> None:
    tiles, logits = graded(60)
    keep = np.array([tile.grade != 3 for tile in tiles])
    tiles = [tile for tile in tiles if tile.grade != 3]
    answers = {"student": Predictions.of_network(logits[keep], card)}
    found = strict(report(tiles, answers, {"student": card}, part="test"))["graders"]["student"]
    for key in ("macro_f1", "auc"):
        assert found[key] == {
            "value": None,
            "interval_95": None,
            "reason": "no tile is labelled 3+",
        }
    assert all(value["reason"] for value in found["per_grade"]["3+"].values())
    assert found["accuracy"]["value"] > 0
    assert found["per_grade"]["1+"]["auc"]["value"] > 0.5


def test_four_tiles_have_no_interval_of_an_area_under_the_curve(graded, card) -> None:
    tiles, logits = graded(4)
    answers = {"student": Predictions.of_network(logits, card)}
    student = report(tiles, answers, {"student": card}, part="test")["graders"]["student"]
    for score in (student["auc"], student["macro_f1"], *student["per_grade"]["1+"].values()):
        assert score["value"] is not None
        assert score["interval_95"] is None
        assert score["reason"].startswith("no interval: ")


def test_footnotes_say_what_is_missing_and_in_which_scores() -> None:
    whole = {"value": 0.5, "interval_95": [0.4, 0.6]}
    lacking = {"value": 0.5, "interval_95": None, "reason": "no interval: why"}
    found = footnotes({"a": whole, "b": lacking, "c": lacking, "d": whole | {"undefined_draws": 7}})
    assert found == [
        "no interval: why (b, c)",
        "the interval leaves out 7 of 2000 draws as undefined (d)",
    ]
    assert [with_interval(score) for score in (whole, lacking)] == ["0.500 [0.400, 0.600]", "0.500"]


def test_tiles_without_a_label_are_counted_and_not_scored(graded, card, scored: dict) -> None:
    tiles, logits = graded(60)
    more = [*tiles, *(replace(tile, name=f"{tile.name} b", grade=None) for tile in tiles)]
    answers = {"student": Predictions.of_network(np.concatenate([logits, -logits]), card)}
    found = report(more, answers, {"student": card}, part="test")
    assert (found["tiles"], found["tiles_without_label"]) == (60, 60)
    assert found["graders"]["student"] == scored["graders"]["student"]


def test_without_any_label_every_score_is_null(graded, card) -> None:
    tiles, logits = graded(8)
    tiles = [replace(tile, grade=None) for tile in tiles]
    answers = {"student": Predictions.of_network(logits, card)}
    found = strict(report(tiles, answers, {"student": card}, part="validation"))
    assert (found["tiles"], found["patients"]) == (0, None)
    for key in SCALARS:
        assert found["graders"]["student"][key]["value"] is None
        assert found["graders"]["student"][key]["reason"]


def test_cards_with_doubtful_calibration_are_remarked(graded, card) -> None:
    tiles, logits = graded(8)
    card = replace(card, temperature=20.0)
    answers = {"student": Predictions.of_network(logits, card)}
    remarks = report(tiles, answers, {"student": card}, part="test")["graders"]["student"][
        "remarks"
    ]
    assert "upper bound 20" in remarks[0]
    assert "grade 3+ belongs to every prediction set" in remarks[1]


def test_json_has_no_nan() -> None:
    content = {"a": float("nan"), "b": [np.float32("inf"), np.int64(3)], "c": np.ones(2)}
    assert strict(content) == {"a": None, "b": [None, 3], "c": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"a": ["x", "y"], "b": ["x"], "c": ["x"]}, ["all: x", "a: y"]),
        ({"a": ["x"], "b": ["y", "x"], "c": []}, ["a, b: x", "b: y"]),
        ({"a": ["x"], "b": ["x"]}, ["a, b: x"]),
        ({"a": ["x"]}, ["a: x"]),
    ],
    ids=["all", "some", "both", "one"],
)
def test_a_sentence_is_told_once_of_all_that_it_is_about(
    said: dict[str, list[str]], told: list[str]
) -> None:
    assert told_once(said, "all") == told
