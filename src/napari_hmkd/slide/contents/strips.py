"""A picture strip by strip: each is in the cache meanwhile, and a core that is free takes one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dask.system import CPU_COUNT

_STRIP_VALUES = 2**18
"""About as many as a strip has; a picture with fewer is not cut."""


def by_strips(
    function: Callable[[np.ndarray], np.ndarray], values: np.ndarray, axis: int
) -> np.ndarray:
    """What a function gives of strips of an array, put together again.

    Parameters
    ----------
    function : callable
        Takes and gives strips, as long along `axis` as each other; it is called in several threads, of
        which NumPy's and SciPy's work lets go of Python's lock.
    values : np.ndarray
    axis : int
        That which is cut.
    """
    strips = np.array_split(values, max(1, values.size // _STRIP_VALUES), axis)
    if len(strips) == 1:
        return function(values)
    with ThreadPoolExecutor(CPU_COUNT) as pool:
        return np.concatenate(list(pool.map(function, strips)), axis)
