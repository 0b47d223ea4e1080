"""What a heatmap shows in each of its modes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_hmkd.heatmap import Heatmap
from napari_hmkd.inference import FailedTile, GradedBatch
from napari_hmkd.map_modes import MapMode, tile_map

NAMES = ("0", "1+", "2+", "3+")
SURE, GUESS, LEANING = [0, 0, 0, 1], [0.25] * 4, [0.1, 0.5, 0.3, 0.1]


def heatmap(thresholds: tuple[float, ...] = (), evidence: np.ndarray | None = None) -> Heatmap:
    """2 x 3 tiles of which three are graded, one could not be read, and the last column was not tried."""
    card = SimpleNamespace(class_names=NAMES, conformal_thresholds=thresholds)
    grid = SimpleNamespace(overlap=1)
    fraction = np.ones((2, 3), np.float32)
    tiles = np.argwhere(fraction)
    plan = SimpleNamespace(tiles=tiles, tissue_fraction=fraction, grid=grid, card=card)
    found = Heatmap(plan)
    tiles = np.array([[0, 0], [0, 1], [1, 0]])
    probabilities = np.array([SURE, GUESS, LEANING], np.float32)
    found.update(GradedBatch(tiles, probabilities, (FailedTile(1, 1, "damaged"),), evidence))
    return found


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        (MapMode.EXPECTED, [3, 1.5, 1.4]),
        (MapMode.FINER, [3, 1.5, 1.4]),  # a network without cells
        (MapMode.GRADE, [3, 0, 1]),
        (MapMode.P_0, [0, 0.25, 0.1]),
        (MapMode.P_1, [0, 0.25, 0.5]),
        (MapMode.P_2, [0, 0.25, 0.3]),
        (MapMode.P_3, [1, 0.25, 0.1]),
        (MapMode.ENTROPY, [0, 1, 0.8427]),
    ],
)
def test_each_mode_shows_its_number_and_nothing_where_there_is_none(
    mode: MapMode, values: list[float]
) -> None:
    shown = tile_map(heatmap(), mode)
    assert shown.values.dtype == np.float32
    assert shown.values[[0, 0, 1], [0, 1, 0]] == pytest.approx(values, abs=1e-4)
    assert np.isnan(shown.values[[1, 0, 1], [1, 2, 2]]).all()
    assert shown.cells == 1
    low, high = shown.limits
    assert low <= np.nanmin(shown.values)
    assert np.nanmax(shown.values) <= high


def test_every_mode_is_tested() -> None:
    marks = test_each_mode_shows_its_number_and_nothing_where_there_is_none.pytestmark
    assert {mode for mode, _ in marks[0].args[1]} == set(MapMode)


def test_the_finer_map_shows_the_cells_where_they_lie() -> None:
    evidence = np.full((3, 2, 2, 4), -20, np.float32)
    for cell, grade in enumerate((0, 1, 2, 3)):
        evidence[1, cell // 2, cell % 2, grade] = 20
    shown = tile_map(heatmap(evidence=evidence), MapMode.FINER)
    assert shown.cells == 2
    assert shown.values.shape == (4, 6)
    assert shown.values[:2, 2:4] == pytest.approx(np.array([[0, 1], [2, 3]]), abs=1e-5)
    assert np.isnan(shown.values[2:, 2:]).all()
    assert np.isnan(shown.values[:, 4:]).all()


@pytest.mark.parametrize(
    ("thresholds", "undecided"),
    [
        ((), None),
        ((0.2, 0.2, 0.2, 0.2), [False, True, True]),  # sets of one, four and two grades
        ((0.4, 0.4, 0.4, 0.4), [False, True, False]),  # of one, none and one
    ],
)
def test_a_set_that_is_not_one_grade_is_undecided(
    thresholds: tuple[float, ...], undecided: list[bool] | None
) -> None:
    found = heatmap(thresholds).undecided
    if undecided is None:
        assert found is None
    else:
        assert found[[0, 0, 1], [0, 1, 0]].tolist() == undecided
        assert not found[[1, 0, 1], [1, 2, 2]].any()


def test_a_tile_is_described_in_words() -> None:
    found = heatmap((0.2, 0.2, 0.2, 0.2))
    assert found.describe((0, 0)) == "grade 3+, expected 3.00 (0 0%, 1+ 0%, 2+ 0%, 3+ 100%)"
    assert found.describe((1, 0)) == (
        "grade 1+, undecided, expected 1.40 (0 10%, 1+ 50%, 2+ 30%, 3+ 10%)"
    )
    assert found.describe((1, 1)) == "not readable"
    found.failed.clear()
    assert found.describe((1, 1)) == "not graded"
