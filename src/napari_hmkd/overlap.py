"""Tiles that overlap: what they say together about the squares between their corners.

With tiles a whole n-th of their side apart, the slide falls into squares of that step. Tile (i, j)
begins at square (i, j) and lies over n x n of them. Where n is 1, squares and tiles are the same.
"""

from __future__ import annotations

from itertools import product

import numpy as np


def mean_of_squares(values: np.ndarray, overlap: int) -> np.ndarray:
    """Mean of each tile's n x n squares, those beyond the grid being 0: float (rows, columns).

    Parameters
    ----------
    values : numpy.ndarray
        float (rows, columns), one per square.
    overlap : int
        n.
    """
    beyond = np.pad(values, (0, overlap - 1))
    squares = np.lib.stride_tricks.sliding_window_view(beyond, (overlap, overlap))
    return squares.mean(axis=(-2, -1), dtype=values.dtype)


def squares_under(tiles: np.ndarray, overlap: int) -> np.ndarray:
    """Which squares lie under any of some tiles; both bool (rows, columns)."""
    turned = tiles[::-1, ::-1].astype(np.float32)
    return mean_of_squares(turned, overlap)[::-1, ::-1] > 0


def mean_of_tiles(answers: np.ndarray, overlap: int) -> np.ndarray:
    """Mean of the answers of the tiles over each square: as the argument.

    Parameters
    ----------
    answers : numpy.ndarray
        float (rows, columns, c) of the tiles, NaN where there is none; NaN, too, in what is returned,
        where no tile over a square has one.
    overlap : int
        n.
    """
    rows, columns, numbers = answers.shape
    everywhere = np.broadcast_to(
        answers[:, :, None, None], (rows, columns, overlap, overlap, numbers)
    )
    return mean_of_cells(everywhere, overlap)[:, :, 0, 0]


def mean_of_cells(answers: np.ndarray, overlap: int) -> np.ndarray:
    """Mean of what the tiles over each square say of its cells.

    Parameters
    ----------
    answers : numpy.ndarray
        float (rows, columns, k, k, c): of each tile's k x k cells, where k is a multiple of n; NaN
        where a tile has no answer.
    overlap : int
        n.

    Returns
    -------
    numpy.ndarray
        The same dtype, (rows, columns, k / n, k / n, c), NaN where no tile over a square has an answer.
    """
    if overlap == 1:
        return answers
    rows, columns, cells, _, numbers = answers.shape
    part = cells // overlap
    total = np.zeros((rows, columns, part, part, numbers), answers.dtype)
    count = np.zeros((rows, columns, 1, 1, 1), answers.dtype)
    answered = ~np.isnan(answers[..., :1, :1, :1])
    for down, right in product(range(overlap), repeat=2):
        # Square (i + down, j + right) is part (down, right) of tile (i, j).
        tiles = slice(max(rows - down, 0)), slice(max(columns - right, 0))
        squares = slice(down, None), slice(right, None)
        own = slice(down * part, (down + 1) * part), slice(right * part, (right + 1) * part)
        total[squares] += np.where(answered[tiles], answers[(*tiles, *own)], 0)
        count[squares] += answered[tiles]
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should be
        return total / count
