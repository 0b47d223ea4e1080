"""Separable resampling by an exact factor: area average down, linear interpolation up.

An image is taken as a plane of unit squares. An output pixel is the exact mean of the source
under it, with fractional weights at its border; where the output is finer than the source, it is
the linear interpolation between the two nearest pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

_ROWS_AT_ONCE = 32
"""Of the output, so that what lies between the two axes' weights stays in the cache."""


@dataclass(frozen=True, slots=True)
class AxisWeights:
    """How `count` output pixels of one axis depend on source pixels.

    Attributes
    ----------
    first : int
        Index of the first source pixel that is needed; it may be negative.
    matrix : scipy.sparse.csr_array
        (outputs, source pixels from `first` on), float32, every row sums to 1.
    """

    first: int
    matrix: sparse.csr_array

    @property
    def length(self) -> int:
        """Number of source pixels that are needed."""
        return self.matrix.shape[1]

    @property
    def identity(self) -> bool:
        """Whether the source pixels that are needed are the output pixels."""
        return self.matrix.shape[0] == self.matrix.shape[1] == self.matrix.nnz


def axis_weights(start: float, step: float, count: int) -> AxisWeights:
    """Weights of `count` output pixels, pixel i covering [start + i step, start + (i + 1) step).

    Parameters
    ----------
    start : float
        Left edge of the first output pixel, in source pixels.
    step : float
        Source pixels per output pixel, above 0; below 1 it enlarges.
    count : int
        Number of output pixels.
    """
    if step < 1:
        return _linear(start, step, count)
    low = start + np.arange(count) * step
    high = low + step
    taps = np.arange(int(np.ceil(step)) + 1)
    index = np.floor(low).astype(np.int64)[:, None] + taps
    overlap = np.minimum(index + 1, high[:, None]) - np.maximum(index, low[:, None])
    return _to_matrix(index, np.clip(overlap, 0, None) / step)


def _linear(start: float, step: float, count: int) -> AxisWeights:
    position = start + (np.arange(count) + 0.5) * step - 0.5
    low = np.floor(position)
    share = position - low
    index = low.astype(np.int64)[:, None] + np.arange(2)
    return _to_matrix(index, np.stack([1 - share, share], axis=1))


def _to_matrix(index: np.ndarray, weight: np.ndarray) -> AxisWeights:
    """Sparse matrix of (count, taps) source indices and weights, cut to the columns in use."""
    used = weight > 1e-9  # below a float32's resolution, and it saves reading a row outside
    rows = np.broadcast_to(np.arange(len(index))[:, None], index.shape)[used]
    columns, values = index[used], weight[used].astype(np.float32)
    first, last = int(columns.min()), int(columns.max())
    shape = (len(index), last - first + 1)
    return AxisWeights(first, sparse.csr_array((values, (rows, columns - first)), shape=shape))


def resample(image: np.ndarray, rows: AxisWeights, columns: AxisWeights) -> np.ndarray:
    """Apply both axes' weights.

    Parameters
    ----------
    image : uint8 (rows.length, columns.length, 3)
        The source from (rows.first, columns.first) on.
    rows, columns : AxisWeights
        The weights of both axes.

    Returns
    -------
    uint8 (output rows, output columns, 3), rounded to nearest; the image itself where nothing is to be
    done, as on a level of just the pixel size that was asked for.
    """
    if rows.identity and columns.identity:
        return image
    height, width = rows.matrix.shape[0], columns.matrix.shape[0]
    result = np.empty((height, width, image.shape[2]), np.uint8)
    for top in range(0, height, _ROWS_AT_ONCE):
        some = rows.matrix[top : top + _ROWS_AT_ONCE]
        first, last = some.indices.min(), some.indices.max() + 1
        result[top : top + _ROWS_AT_ONCE] = _resample(
            image[first:last], some[:, first:last], columns.matrix
        )
    return result


def _resample(image: np.ndarray, rows: sparse.csr_array, columns: sparse.csr_array) -> np.ndarray:
    """`resample` by matrices that meet the whole image."""
    length, width, channels = image.shape
    flat = image.reshape(length, width * channels).astype(np.float32)
    tall = (rows @ flat).reshape(-1, width, channels)
    sideways = tall.transpose(1, 0, 2).reshape(width, -1)
    result = columns @ sideways
    result += 0.5  # the cast below cuts, so this rounds; weights sum to 1, so 255.5 is the top
    return result.astype(np.uint8).reshape(-1, len(tall), channels).transpose(1, 0, 2)
