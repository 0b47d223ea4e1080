"""Features of bags: in memory as far as they fit, else from their files each time."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hmkd.bags.bag import BagHeader, read_features, read_header
from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.config import CaseComputeSettings
from napari_hmkd.training.room import room_bytes

DEFAULTS = CaseComputeSettings()
REMEDY = "Make the features again, in float32 where they are too large for float16"
Features = NDArray[np.float16] | NDArray[np.float32]


class BagStore:
    """Bags by their files; several threads may read at once, and all folds of a run share one.

    A bag that was read is kept where it still fits, float16 as that and what is wider as float32, and
    is never given up for another: every epoch comes back to every bag, so that the least recently used
    would be the next one needed. A bag's values are looked at when it is read first.

    Parameters
    ----------
    memory_gb : float
        Most memory for bags that are kept, in GB of 1e9 bytes, as far as the machine has it; 0 keeps none.
    processes : int
        How many on this machine keep as much.
    """

    def __init__(self, memory_gb: float = DEFAULTS.memory_gb, processes: int = 1) -> None:
        self._memory_gb, self._processes = memory_gb, processes
        self._room = room_bytes(memory_gb, 0, processes)
        self._promised_bytes, self._full = 0, False
        self._kept: dict[Path, Features] = {}
        self._promised: set[Path] = set()
        self._finite: set[Path] = set()
        self._headers: dict[Path, BagHeader] = {}
        self._lock = Lock()

    def header(self, path: Path) -> BagHeader:
        """Patches, features of each and their type.

        Raises
        ------
        DataError
            If the file is missing, damaged or no bag.
        """
        if path not in self._headers:
            self._headers[path] = read_header(path)
        return self._headers[path]

    def read(self, path: Path, out: Features) -> None:
        """Write a bag's features into (n, d) memory, float32 unless the file's type is float16.

        Raises
        ------
        DataError
            If the file is missing or damaged, or a feature is not finite.
        """
        if (kept := self._kept.get(path)) is not None:
            out[...] = kept
            return
        widened = self.header(path).dtype == np.float16 and out.dtype != np.float16
        found = np.empty(out.shape, np.float16) if widened else out
        read_features(path, found)
        if path not in self._finite:
            _require_finite(path, found)
            self._finite.add(path)
        if widened:
            out[...] = found
        if self._fits(path, found.nbytes):
            self._kept[path] = found if widened else out.copy()

    def _fits(self, path: Path, size: int) -> bool:
        """Whether to keep a bag; its room is taken then, as another thread may read the same."""
        with self._lock:
            if path in self._promised:
                return False
            if self._promised_bytes + size > self._room:
                if not self._full:  # says whether the machine is why
                    room_bytes(self._memory_gb, self._promised_bytes + size, self._processes)
                self._full = True
                return False
            self._promised.add(path)
            self._promised_bytes += size
            return True


def count_not_finite(features: np.ndarray) -> int:
    """How many patches of (n, d) have features that are not finite in the type that they are trained in."""
    if features.dtype != np.float16:
        with np.errstate(over="ignore"):  # what is too large for float32 is counted
            features = features.astype(np.float32, copy=False)
    # A NaN becomes both of them. Looking at each value of float16 takes six times as long.
    if all(map(torch.isfinite, torch.aminmax(torch.from_numpy(features)))):
        return 0
    return int((~np.isfinite(features)).any(axis=1).sum())


def _require_finite(path: Path, features: Features) -> None:
    if bad := count_not_finite(features):
        raise DataError(
            f"the bag {path} has {bad} of {len(features)} patches whose features are not finite. {REMEDY}"
        )
