"""A picture strip by strip: each is in the cache meanwhile, and a core that is free takes one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dask.system import CPU_COUNT

_STRIP_VALUES = 2**18
"""About as many as a strip has; a picture with less than twice of them is not cut."""


def by_strips(
    function: Callable[..., np.ndarray], *planes: np.ndarray, halo: int = 0
) -> np.ndarray:
    """What a function gives of strips of rows, put together again.

    Parameters
    ----------
    function : callable
        Takes strips of all `planes` and gives (..., as many rows, columns). It is called in several
        threads; NumPy and SciPy let go of Python's lock.
    *planes : np.ndarray
        (..., height, width).
    halo : int
        How many rows further up and down that which a pixel gets may depend on.
    """
    height = planes[0].shape[-2]
    shortest = max(1, 2 * halo)  # else more would be reckoned twice than once
    count = min(height // shortest, planes[0].size // _STRIP_VALUES)
    if count < 2:
        return function(*planes)
    edges = np.linspace(0, height, count + 1).astype(int)

    def work(start: int, stop: int) -> np.ndarray:
        first = max(0, start - halo)
        found = function(*(plane[..., first : stop + halo, :] for plane in planes))
        return found[..., start - first : stop - first, :]

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        return np.concatenate(list(pool.map(work, edges[:-1], edges[1:])), axis=-2)
