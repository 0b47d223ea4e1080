"""Seeded random fields that can be asked anywhere: the same place always gives the same value.

Everything the procedural tissue shows is a function of (seed, position), so any region of a slide
of any size can be drawn alone, and neighbouring regions meet without a seam.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Standard deviation of a cubic B-spline blend of unit normals, averaged over the cell: (sum w^2).
_BLEND_STD = 0.479


def _splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that looks random."""
    with np.errstate(over="ignore"):
        x = x + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def hash_uniform(seed: int, *keys: ArrayLike) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), one for each combination of the broadcast integer keys."""
    state = _splitmix64(np.asarray(seed % 2**64, dtype=np.uint64))
    for key in keys:
        state = _splitmix64(state ^ np.asarray(key, dtype=np.int64).astype(np.uint64))
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def hash_normal(seed: int, *keys: ArrayLike) -> NDArray[np.float64]:
    """Standard normal numbers, one for each combination of the broadcast integer keys."""
    return ndtri(hash_uniform(seed, *keys))


def derive_seed(seed: int, *keys: int) -> int:
    """A new seed for a part of what `seed` describes."""
    return int(hash_uniform(seed, *keys) * 2**53)


def _bspline_weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic B-spline weights of the four lattice neighbours, shape (..., 4), for t in [0, 1)."""
    s = 1 - t
    return np.stack([s**3, 3 * t**3 - 6 * t**2 + 4, 3 * s**3 - 6 * s**2 + 4, t**3], axis=-1) / 6.0


class NoiseField:
    """Smooth random field with about zero mean and unit standard deviation.

    Parameters
    ----------
    seed : int
        Two fields of one seed are the same field.
    period_um : float
        Distance between the lattice points that are blended, in um: the size of its features.
    """

    def __init__(self, seed: int, period_um: float) -> None:
        self.seed = seed
        self.period_um = period_um

    def at(self, y_um: ArrayLike, x_um: ArrayLike) -> NDArray[np.float64]:
        """Values at points close to each other; `y_um` and `x_um` broadcast against each other."""
        y, x = np.broadcast_arrays(
            np.asarray(y_um, float) / self.period_um, np.asarray(x_um, float) / self.period_um
        )
        i, j = np.floor(y).astype(np.int64) - 1, np.floor(x).astype(np.int64) - 1
        weights_y, weights_x = _bspline_weights(y - i - 1), _bspline_weights(x - j - 1)
        first_i, first_j = i.min(), j.min()
        lattice = hash_normal(
            self.seed,
            np.arange(first_i, i.max() + 4)[:, None],
            np.arange(first_j, j.max() + 4),
        )
        value = np.zeros(y.shape)
        for a in range(4):
            for b in range(4):
                value += (
                    weights_y[..., a]
                    * weights_x[..., b]
                    * lattice[i - first_i + a, j - first_j + b]
                )
        return value / _BLEND_STD

    def grid(self, y_um: NDArray[np.floating], x_um: NDArray[np.floating]) -> NDArray[np.float32]:
        """Values at every crossing of two ascending axes, shape (len(y_um), len(x_um))."""
        rows, first_row, last_row = self._axis(y_um)
        columns, first_column, last_column = self._axis(x_um)
        lattice = hash_normal(
            self.seed,
            np.arange(first_row, last_row)[:, None],
            np.arange(first_column, last_column),
        )
        return (rows @ lattice.astype(np.float32) @ columns.T) / np.float32(_BLEND_STD)

    def _axis(self, axis_um: NDArray[np.floating]) -> tuple[NDArray[np.float32], int, int]:
        """Interpolation matrix (len(axis_um), lattice points) and the lattice points' range."""
        position = np.asarray(axis_um, float) / self.period_um
        cell = np.floor(position).astype(np.int64)
        first, last = int(cell[0]) - 1, int(cell[-1]) + 3
        matrix = np.zeros((len(position), last - first), dtype=np.float32)
        weights = _bspline_weights(position - cell)
        for k in range(4):
            matrix[np.arange(len(position)), cell - 1 + k - first] = weights[:, k]
        return matrix, first, last
