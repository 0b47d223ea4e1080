"""Temperature and conformal thresholds from the calibration part."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hmkd.training.scores.calibration import (
    TEMPERATURE_RANGE,
    calibrate,
    fit_temperature,
    probabilities,
    temperature_remarks,
)
from napari_hmkd.training.scores.conformal import (
    conformal_threshold,
    fewest_tiles,
    prediction_sets,
)


def drawn(n: int, temperature: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and grades drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 4))
    return logits * temperature, np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_overconfident_logits_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(20_000, temperature)) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize(("scale", "bound"), [(1e-3, "lower bound 0.05"), (-9, "upper bound 20")])
def test_a_temperature_at_its_bound_is_said(scale: float, bound: str) -> None:
    grades = np.tile(np.arange(4), 20)
    logits = np.eye(4)[grades] * scale
    logits[0] = logits[1]  # one error
    assert bound in " ".join(calibrate(logits, grades).remarks)


@pytest.mark.parametrize("where", [{}, {"part": "validation"}])
def test_a_temperature_that_fits_nothing_names_the_part_it_was_fitted_to(
    where: dict[str, str],
) -> None:
    (said,) = temperature_remarks(TEMPERATURE_RANGE[1], **where)
    assert f"on the {where.get('part', 'calibration')} part" in said


def test_tiles_that_are_all_graded_right_make_no_network_surer() -> None:
    grades = np.tile(np.arange(4), 20)
    found = calibrate(np.eye(4)[grades] * 0.1, grades)
    assert found.temperature == 1
    assert "every calibration tile is graded right" in found.remarks[0]


def test_a_threshold_by_hand() -> None:
    # Ten tiles: the ceil(11 * 0.8) = 9th highest of 0.1, 0.2, ..., 1.0 is 0.2.
    assert conformal_threshold(np.arange(1, 11) / 10, 0.8) == 0.2
    # Nine tiles at 0.9: exactly the 9th.
    assert conformal_threshold(np.arange(1, 10) / 10, 0.9) == 0.1
    # Twenty-four at 0.56: the 14th, though 25 * 0.56 is a little more than 14 in binary.
    assert conformal_threshold(np.arange(1, 25) / 25, 0.56) == 0.44


@pytest.mark.parametrize(("level", "fewest"), [(0.9, 9), (0.8, 4), (0.95, 19), (0.5, 1)])
def test_fewer_tiles_than_the_level_needs_let_the_grade_into_every_set(
    level: float, fewest: int
) -> None:
    assert fewest_tiles(level) == fewest
    assert conformal_threshold(np.full(fewest - 1, 0.7), level) == 0
    assert conformal_threshold(np.full(fewest, 0.7), level) == 0.7


def test_sets_hold_the_grades_at_or_above_their_thresholds() -> None:
    found = prediction_sets(np.array([[0.5, 0.3, 0.2, 0.0], [0.1] * 4]), (0.5, 0.4, 0.1, 0.0))
    np.testing.assert_array_equal(found, [[1, 0, 1, 1], [0, 0, 1, 1]])


def test_sets_need_a_threshold_for_each_grade() -> None:
    with pytest.raises(ValueError, match="4 thresholds, got 0"):
        prediction_sets(np.full((1, 4), 0.25), ())


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_coverage_of_each_grade_is_near_the_level_on_tiles_like_these(level: float) -> None:
    found = calibrate(*drawn(4000, 2.0, seed=1), level)
    logits, grades = drawn(8000, 2.0, seed=2)
    sets = prediction_sets(probabilities(logits, found.temperature), found.thresholds)
    held = sets[np.arange(len(grades)), grades]
    for grade in range(4):
        assert held[grades == grade].mean() == pytest.approx(level, abs=0.03)
    assert sets.sum(1).mean() < 3.5


@pytest.mark.parametrize(("tiles", "rare"), [(8, True), (9, False)])
def test_a_rare_grade_is_named_and_always_in_the_set(tiles: int, rare: bool) -> None:
    logits, grades = drawn(200)
    keep = (grades != 2) | (np.cumsum(grades == 2) <= tiles)
    found = calibrate(logits[keep], grades[keep])
    assert (found.thresholds[2] == 0) == rare
    assert min(found.thresholds[k] for k in (0, 1, 3)) > 0
    said = "grade 2+ has 8 calibration tiles, and level 0.9 needs 9"
    assert [said in remark for remark in found.remarks] == [True] * rare


def test_tiles_without_a_label_do_not_count() -> None:
    logits, grades = drawn(200)
    more = np.concatenate([logits, np.full((50, 4), 99.0)]), np.r_[grades, np.full(50, -1)]
    assert calibrate(*more) == calibrate(logits, grades)


def test_nothing_is_fitted_where_no_tile_has_a_label() -> None:
    found = calibrate(np.zeros((3, 4)), np.full(3, -1))
    assert (found.temperature, found.thresholds) == (1.0, ())
    assert "no calibration tile has a label" in found.remarks[0]
