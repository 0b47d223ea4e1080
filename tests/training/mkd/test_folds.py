"""Folds by patient with nested validation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.folds import nested_folds
from napari_hmkd.training.splits import ATTEMPTS


def cases_of(*patients: list[int]) -> list[Case]:
    """One list of labels per patient, one label per case."""
    return [
        Case(f"{p}-{n}", f"patient {p}", (Path(f"{p}-{n}.h5"),), label)
        for p, labels in enumerate(patients)
        for n, label in enumerate(labels)
    ]


# Patients with any labels; more of both classes make sure that every part can have them.
PATIENTS = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3), min_size=0, max_size=30)


@settings(max_examples=15)
@given(patients=PATIENTS, folds=st.integers(3, 5), seed=st.integers(0, 99))
def test_parts_are_disjoint_and_whole_and_no_patient_is_in_two(
    patients: list[list[int]], folds: int, seed: int
) -> None:
    cases = cases_of(*[[0], [1]] * 10, *patients)
    found = nested_folds(cases, folds, seed)
    assert len(found) == folds
    for fold in found:
        parts = list(fold.parts().values())
        assert sorted(np.concatenate(parts)) == list(range(len(cases)))
        owners = [{cases[i].patient for i in part} for part in parts]
        assert sum(map(len, owners)) == len(set().union(*owners))
        assert all({cases[i].label for i in part} == {0, 1} for part in parts)
    assert Counter(i for fold in found for i in fold.test) == Counter(range(len(cases)))


@settings(max_examples=10)
@given(count=st.integers(60, 200), share=st.floats(0.2, 0.5), seed=st.integers(0, 99))
def test_five_folds_have_shares_of_64_16_and_20_per_cent_in_each_class(
    count: int, share: float, seed: int
) -> None:
    cases = cases_of(*[[int(n < share * count)] for n in range(count)])
    labels = np.array([case.label for case in cases])
    for fold in nested_folds(cases, 5, seed):
        for part, expected in ((fold.train, 0.64), (fold.validation, 0.16), (fold.test, 0.2)):
            sizes = np.bincount(labels[part], minlength=2)
            assert np.abs(sizes - expected * np.bincount(labels)).max() <= 2


def test_the_seed_decides() -> None:
    cases = cases_of(*[[n % 2] for n in range(40)])
    first, same, other = (
        [fold.test.tolist() + fold.validation.tolist() for fold in nested_folds(cases, 5, seed)]
        for seed in (1, 1, 2)
    )
    assert first == same != other


def test_a_class_of_few_cases_is_put_where_all_folds_can_be_used() -> None:
    cases = cases_of(*[[int(n < 5)] for n in range(40)])
    labels = np.array([case.label for case in cases])
    for seed in range(5):
        for fold in nested_folds(cases, 3, seed):
            assert all(set(labels[part]) == {0, 1} for part in fold.parts().values())


@pytest.mark.parametrize(
    ("patients", "folds", "message"),
    [
        ([[0, 1] * 5] * 6, 5, "5 folds with validation need 7 patients .* are of 6 patients"),
        ([[n % 4] for n in range(16)], 5, "and 4 at most are of one class"),
        (
            [[int(n < 2)] for n in range(40)],
            3,
            r"of 40 cases the \w+ part of fold \d \(from 0\) of 3 has \d+, of 1 of the 2 classes",
        ),
        ([[1]] + [[0]] * 39, 3, f"of 1 of the 2 classes, and {ATTEMPTS - 1} other draws"),
        ([[0, 0], [0], [1], [2], [3]], 3, r"of 6 cases the train part of fold \d .* has \d+, of"),
    ],
)
def test_cases_that_cannot_be_divided_are_refused_by_fold(
    patients: list[list[int]], folds: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        nested_folds(cases_of(*patients), folds)
