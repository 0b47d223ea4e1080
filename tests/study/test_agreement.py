"""Readers with each other, with the model, and their consensus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_hmkd.study.agreement import CONSENSUS, NO_PAIR, Agreement, agreement
from napari_hmkd.study.measures import Origins
from napari_hmkd.study.scores import Score
from napari_hmkd.study.values import ModelValue

ANNA, BEN, CLEO = ([0, 1, 2, 3, 2, 1], [0, 1, 3, 3, 2, 0], [0, 1, 2, 3, 2, 1])


def scores(**readers: list[int | None]) -> list[Score]:
    """One score per reader and slide, s0, s1, ...; None where the reader did not score it."""
    return [
        Score(f"s{number}", "", reader, grade)
        for reader, grades in readers.items()
        for number, grade in enumerate(grades)
        if grade is not None
    ]


def model(*values: tuple[float, int | None] | None) -> dict[tuple[str, str], ModelValue]:
    return {
        (f"s{number}", ""): ModelValue(*value)
        for number, value in enumerate(values)
        if value is not None
    }


def kappas(found: Agreement) -> dict[tuple[str, str], float | None]:
    return {(pair.first, pair.second): pair.grades.kappa.value for pair in found.pairs}


def test_every_two_readers_are_compared_over_what_both_scored() -> None:
    found = agreement(scores(cleo=[None, *CLEO[1:]], anna=ANNA, ben=BEN), {})
    assert list(kappas(found)) == [("anna", "ben"), ("anna", "cleo"), ("ben", "cleo")]
    assert [pair.grades.cases for pair in found.pairs] == [6, 5, 5]
    assert kappas(found)["anna", "ben"] == pytest.approx(1 - 2 / 15)  # see test_measures.py
    assert kappas(found)["anna", "cleo"] == 1


def test_two_readers_without_a_common_case_have_no_kappa() -> None:
    found = agreement(scores(anna=[1, 2, None], ben=[None, None, 3]), {})
    assert kappas(found) == {("anna", "ben"): None}
    assert (found.mean_kappa.value, found.mean_kappa.reason) == (None, NO_PAIR)


def test_the_mean_is_over_the_pairs_that_have_a_kappa() -> None:
    constant = [2, 2, None, None, None, None]
    found = agreement(scores(anna=ANNA, ben=BEN, cleo=CLEO, dan=constant, eve=constant), {})
    known = [kappa for kappa in kappas(found).values() if kappa is not None]
    assert len(known) == 9  # dan and eve say the same throughout
    assert found.mean_kappa.value == pytest.approx(np.mean(known))


def test_the_mean_of_one_pair_is_that_pair() -> None:
    rng = np.random.default_rng(0)
    anna = rng.integers(0, 4, 40)
    ben = (anna + rng.integers(-1, 2, 40)).clip(0, 3)
    found = agreement(scores(anna=[*anna.tolist(), 1, 1, 1], ben=ben.tolist()), {})
    assert found.mean_kappa.interval_95 == pytest.approx(found.pairs[0].grades.kappa.interval_95)


def test_readers_are_compared_with_the_model_where_it_has_a_value() -> None:
    found = agreement(
        scores(anna=[0, 1, 2, 3], ben=[0, None, 2, None]),
        model((0.5, 0), (1.25, None), (2.25, 3), None),
    )
    anna, ben = found.readers_with_model
    assert (anna.reader, ben.reader) == ("anna", "ben")
    assert anna.grade_of_most_area.cases == 2  # a tie of areas is no grade
    assert anna.grade_of_most_area.table[2] == (0, 0, 0, 1)
    assert anna.expected_grade.cases == 3
    assert anna.expected_grade.bias.value == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert ben.expected_grade.cases == 2
    assert ben.expected_grade.bias.value == pytest.approx((0.5 + 0.25) / 2)


def test_a_model_that_grades_higher_has_a_positive_bias() -> None:
    found = agreement(scores(anna=[0, 1, 2]), model((1.0, 1), (2.0, 2), (3.0, 3)))
    assert found.readers_with_model[0].expected_grade.bias.value == 1
    assert found.readers_with_model[0].expected_grade.sd.value == 0


def test_the_consensus_is_what_more_than_half_say() -> None:
    readers = scores(
        anna=[0, 1, 2, 2, 3, 1],
        ben=[0, 1, 3, 2, 3, None],
        cleo=[0, 2, 0, None, None, None],
        dan=[1, 2, 0, None, None, None],
    )
    found = agreement(readers, model(*[(float(k), k) for k in (0, 1, 2, 2, 3, 1)]))
    #  s0: 0 by three of four; s1: two and two; s2: two of four are no majority; s5: one reader
    assert found.cases_without_consensus == (("s1", ""), ("s2", ""), ("s5", ""))
    consensus = found.consensus_with_model
    assert consensus.reader == CONSENSUS
    assert consensus.grade_of_most_area.cases == 3
    assert consensus.grade_of_most_area.kappa.value == 1
    assert consensus.expected_grade.bias.value == 0


def test_without_a_model_nothing_is_compared_with_it() -> None:
    found = agreement(scores(anna=ANNA, ben=BEN), {})
    assert (found.readers_with_model, found.consensus_with_model) == ((), None)


def test_regions_of_a_slide_are_drawn_together() -> None:
    """The draws of two slides: half of them hold one slide twice, and all its regions."""
    regions = [
        Score(slide, f"core {core}", reader, grade)
        for slide, pairs in {"a": [(0, 0), (3, 3)], "b": [(0, 3), (3, 0)]}.items()
        for core, pair in enumerate(pairs)
        for reader, grade in zip(("anna", "ben"), pair, strict=True)
    ]
    (pair,) = agreement(regions, {}).pairs
    assert (pair.grades.cases, pair.grades.slides) == (4, 2)
    assert pair.grades.kappa.value == pytest.approx(0)
    assert pair.grades.kappa.interval_95 == (-1, 1)


def test_slides_of_a_patient_are_drawn_together() -> None:
    """As regions of a slide, above; a slide that is named as a patient is no slide of that patient."""
    grades = {"a": [(0, 0), (3, 3)], "b": [(0, 3), (3, 0)]}
    slides = [
        Score(f"{patient}{number}", "", reader, grade, patient=patient)
        for patient, pairs in grades.items()
        for number, pair in enumerate(pairs)
        for reader, grade in zip(("anna", "ben"), pair, strict=True)
    ]
    found = agreement(slides, {})
    (pair,) = found.pairs
    assert (found.unit, pair.grades.cases, pair.grades.slides) == ("patient", 4, 4)
    assert pair.grades.kappa.interval_95 == found.mean_kappa.interval_95 == (-1, 1)
    alone = [replace(score, patient="") for score in slides]
    assert agreement(alone, {}).unit == "slide"
    assert agreement(alone, {}).pairs[0].grades.kappa.interval_95 != (-1, 1)
    mixed = Origins.of(["a", "x", "y"], ["", "a", "a"])
    assert (mixed.bootstrap().clusters, mixed.unit) == (2, "patient")


def test_a_study_is_the_same_whatever_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 30)
    drawn = {r: (truth + rng.integers(-1, 2, 30)).clip(0, 3).tolist() for r in ("a", "b", "c")}
    values = model(*[(float(k), int(k)) for k in truth])
    rows = scores(**drawn)
    assert agreement(rows[::-1], values) == agreement(rows, values)
