"""Overlapping tiles and the squares between their corners, against a slow count."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.overlap import mean_of_cells, mean_of_squares, mean_of_tiles, squares_under

SIDES = st.integers(1, 6)
OVERLAPS = st.sampled_from([1, 2, 4])


def some_answers(rows: int, columns: int, *rest: int) -> np.ndarray:
    """A third of the tiles have none."""
    rng = np.random.default_rng(rows * 7 + columns)
    answers = rng.random((rows, columns, *rest))
    answers[rng.random((rows, columns)) < 1 / 3] = np.nan
    return answers


def tiles_over(row: int, column: int, overlap: int) -> list[tuple[int, int]]:
    return [
        (row - down, column - right)
        for down, right in product(range(overlap), repeat=2)
        if row >= down and column >= right
    ]


@given(SIDES, SIDES, OVERLAPS)
def test_a_square_has_the_mean_of_the_tiles_over_it(rows: int, columns: int, overlap: int) -> None:
    answers = some_answers(rows, columns, 4)
    found = mean_of_tiles(answers, overlap)
    for square in np.ndindex(rows, columns):
        over = [answers[tile] for tile in tiles_over(*square, overlap)]
        known = [one for one in over if not np.isnan(one).any()]
        expected = np.mean(known, axis=0) if known else np.full(4, np.nan)
        np.testing.assert_allclose(found[square], expected, rtol=1e-12)


@given(SIDES, SIDES, OVERLAPS)
def test_a_cell_has_the_mean_of_what_tiles_say_of_it(rows: int, columns: int, overlap: int) -> None:
    answers = some_answers(rows, columns, 4, 4, 1)
    found, part = mean_of_cells(answers, overlap), 4 // overlap
    for row, column, y, x in np.ndindex(rows, columns, part, part):
        said = [
            answers[i, j, (row - i) * part + y, (column - j) * part + x, 0]
            for i, j in tiles_over(row, column, overlap)
            if not np.isnan(answers[i, j]).any()
        ]
        expected = np.mean(said) if said else np.nan
        np.testing.assert_allclose(found[row, column, y, x, 0], expected, rtol=1e-12)


@given(SIDES, SIDES, OVERLAPS)
def test_a_tile_has_the_mean_of_its_squares_and_nothing_beyond_the_slide(
    rows: int, columns: int, overlap: int
) -> None:
    values = np.random.default_rng(0).random((rows, columns))
    found = mean_of_squares(values, overlap)
    for row, column in np.ndindex(rows, columns):
        own = values[row : row + overlap, column : column + overlap]
        assert found[row, column] == pytest.approx(own.sum() / overlap**2, rel=1e-12)


@given(SIDES, SIDES, OVERLAPS)
def test_a_square_lies_under_the_tiles_that_hold_it(rows: int, columns: int, overlap: int) -> None:
    tiles = np.random.default_rng(rows + columns).random((rows, columns)) < 0.2
    found = squares_under(tiles, overlap)
    for square in np.ndindex(rows, columns):
        assert found[square] == any(tiles[tile] for tile in tiles_over(*square, overlap))


def test_tiles_side_by_side_are_their_squares() -> None:
    answers = some_answers(3, 4, 4)
    assert mean_of_cells(answers[:, :, None, None], 1)[:, :, 0, 0].base is answers
    np.testing.assert_array_equal(mean_of_tiles(answers, 1), answers)
    np.testing.assert_array_equal(mean_of_squares(np.eye(3), 1), np.eye(3))
