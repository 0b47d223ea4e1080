"""Kappa, Bland-Altman and their intervals, against numbers from paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from napari_hmkd.bootstrap import NO_SPREAD
from napari_hmkd.study.measures import (
    CONSTANT,
    NO_CASE,
    TOO_FEW,
    GradeAgreement,
    Origins,
    bland_altman,
    grade_agreement,
)

ONE_SLIDE = "no interval: one slide alone has none"
# Peak flow, l/min, by the large and the mini Wright meter, first readings of 17 people
# (the table of Bland & Altman 1986).
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def compare(first: list[int], second: list[int], slides: object = None) -> GradeAgreement:
    names = [f"s{i}" for i in range(len(first))] if slides is None else slides
    return grade_agreement(np.array(first, int), np.array(second, int), on(names))


def on(slides: Sequence[str]) -> Origins:
    """Cases on slides whose patients are not known."""
    return Origins.of(slides, [""] * len(slides))


def test_kappa_of_a_small_table_as_by_hand() -> None:
    """Six cases: four agree, one is 2+ / 3+ and one is 1+ / 0.

    Observed: two cases one grade apart, 2 x 1^2 = 2.
    By chance, of row sums (1, 2, 2, 1) and column sums (2, 1, 1, 2), over 6 cases:
      row 0: 1 x (0x2 + 1x1 + 4x1 + 9x2) = 23      row 1: 2 x (1x2 + 0x1 + 1x1 + 4x2) = 22
      row 2: 2 x (4x2 + 1x1 + 0x1 + 1x2) = 22      row 3: 1 x (9x2 + 4x1 + 1x1 + 0x2) = 23
    together 90 / 6 = 15, and kappa = 1 - 2 / 15.
    """
    found = compare([0, 1, 2, 3, 2, 1], [0, 1, 3, 3, 2, 0])
    assert found.kappa.value == pytest.approx(1 - 2 / 15)
    assert found.agreement_percent == pytest.approx(100 * 4 / 6)
    assert found.table == ((1, 0, 0, 0), (1, 1, 0, 0), (0, 0, 1, 1), (0, 0, 0, 1))
    assert (found.cases, found.slides) == (6, 6)


def test_kappa_is_undefined_where_both_are_constant_and_the_same() -> None:
    found = compare([2, 2, 2], [2, 2, 2])
    assert (found.kappa.value, found.kappa.interval_95) == (None, None)
    assert found.kappa.reason == CONSTANT
    assert found.agreement_percent == 100


def test_without_a_case_there_is_no_number() -> None:
    found = compare([], [])
    assert (found.cases, found.slides, found.agreement_percent) == (0, 0, None)
    assert (found.kappa.value, found.kappa.reason) == (None, NO_CASE)
    differences = bland_altman(np.array([]), on([]))
    assert (differences.bias.value, differences.bias.reason) == (None, NO_CASE)


def test_bland_and_altman_s_own_example() -> None:
    """Mean difference -2.1, SD 38.8 l/min."""
    differences = np.subtract(LARGE, MINI).astype(float)
    found = bland_altman(differences, on([f"s{i}" for i in range(17)]))
    assert found.bias.value == pytest.approx(-2.1, abs=0.05)
    assert found.sd.value == pytest.approx(38.8, abs=0.05)
    assert found.lower_limit.value == pytest.approx(-2.12 - 1.96 * 38.77, abs=0.05)
    assert found.upper_limit.value == pytest.approx(-2.12 + 1.96 * 38.77, abs=0.05)


def test_one_case_has_a_bias_and_no_spread() -> None:
    found = bland_altman(np.array([0.5]), on(["a"]))
    assert found.bias.value == 0.5
    assert found.bias.reason == ONE_SLIDE
    assert (found.sd.value, found.lower_limit.value, found.sd.reason) == (None, None, TOO_FEW)


def test_a_small_spread_about_a_large_bias_is_not_lost() -> None:
    differences = 1e8 + np.array([-1.0, 0.0, 1.0])
    assert bland_altman(differences, on(list("abc"))).sd.value == pytest.approx(1)


def test_one_slide_has_no_interval() -> None:
    found = compare([0, 1, 2, 3], [0, 1, 3, 3], ["a"] * 4)
    assert found.kappa.value is not None
    assert (found.kappa.interval_95, found.kappa.reason) == (None, ONE_SLIDE)


def test_perfect_agreement_has_no_interval() -> None:
    found = compare([0, 1, 2, 3] * 5, [0, 1, 2, 3] * 5)
    assert (found.kappa.value, found.kappa.interval_95) == (1.0, None)
    assert found.kappa.reason == NO_SPREAD


def test_an_interval_from_a_selection_of_the_draws_is_none() -> None:
    found = compare([2, 2, 3], [2, 2, 3])  # undefined in all draws without the third, 8 of 27
    assert found.kappa.interval_95 is None
    assert "undefined in" in found.kappa.reason


def test_the_interval_of_a_mean_is_the_textbook_s() -> None:
    differences = np.random.default_rng(0).normal(1, 2, 400)
    found = bland_altman(differences, on([f"s{i}" for i in range(400)]))
    wanted = differences.mean() + np.array([-1.96, 1.96]) * differences.std(ddof=1) / 20
    assert found.bias.interval_95 == pytest.approx(wanted, abs=0.03)


def test_intervals_widen_where_cases_share_a_slide_and_its_error() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 20).repeat(10)
    other = (truth + rng.choice([-1, 0, 1], 20).repeat(10)).clip(0, 3)
    by_slide, by_case = (on([f"s{i // n}" for i in range(200)]) for n in (10, 1))
    pairs = [
        (lambda slides: grade_agreement(truth, other, slides).kappa),
        (lambda slides: bland_altman((truth - other).astype(float), slides).bias),
    ]
    for measure in pairs:
        wide, narrow = measure(by_slide), measure(by_case)
        assert wide.value == pytest.approx(narrow.value)
        assert np.ptp(wide.interval_95) > 2 * np.ptp(narrow.interval_95)


def test_the_draws_are_the_same_whatever_the_order_of_the_cases() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 4, (2, 40))
    slides = on([f"s{i // 4}" for i in range(40)])
    order = rng.permutation(40)
    found = grade_agreement(first, second, slides)
    assert grade_agreement(first[order], second[order], slides[order]) == found
