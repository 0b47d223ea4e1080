"""Kappa against numbers from paper and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hmkd.grade_tables import cross_tables, quadratic_kappa, ratio


def kappa(first: object, second: object, grades: int = 4) -> np.ndarray:
    return quadratic_kappa(cross_tables(np.asarray(first), np.asarray(second), grades).sum(0))


def test_kappa_of_a_small_table_as_by_hand() -> None:
    # Four items, one off by one: 1 - observed 1 / expected (sum of penalties times margins) / 4.
    expected = (0 + 1 + 4 + 4 + 1 + 0 + 1 + 1 + 4 + 1 + 0 + 0 + 9 + 4 + 1 + 1) / 4
    assert kappa([0, 1, 2, 3], [0, 1, 2, 2]) == pytest.approx(1 - 1 / expected)


@settings(max_examples=30)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40),
    grades=st.integers(4, 6),
)
def test_kappa_is_scikit_learn_s(pairs: list[tuple[int, int]], grades: int) -> None:
    rival = pytest.importorskip("sklearn.metrics", reason="needs the extra `train`")
    first, second = np.array(pairs).T
    found = kappa(first, second, grades)
    if len(set(first) | set(second)) == 1:
        assert np.isnan(found)
        return
    wanted = rival.cohen_kappa_score(first, second, labels=range(grades), weights="quadratic")
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 1.0),
        ([0, 0, 3, 3], [3, 3, 0, 0], -1.0),
        ([2, 2, 2], [0, 1, 2], 0.0),  # one of them says the same throughout
        ([2, 2], [3, 3], 0.0),
        ([2, 2], [2, 2], np.nan),
    ],
)
def test_kappa_at_its_ends(first: list[int], second: list[int], wanted: float) -> None:
    assert kappa(first, second) == pytest.approx(wanted, nan_ok=True)


def test_many_tables_at_once_are_as_each_alone() -> None:
    first, second = np.random.default_rng(0).integers(0, 4, (2, 5, 30))
    tables = np.stack([cross_tables(*pair, 4).sum(0) for pair in zip(first, second, strict=True)])
    alone = [quadratic_kappa(table) for table in tables]
    np.testing.assert_array_equal(quadratic_kappa(tables), alone)


def test_a_ratio_to_nothing_is_undefined() -> None:
    np.testing.assert_array_equal(ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])), [0.5, np.nan])
