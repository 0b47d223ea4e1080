"""What every source of training tiles offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.wording import GRADE_NAMES

TILE_MULTIPLE_PX = 256
GRADES = len(GRADE_NAMES)
PARTS = ("train", "validation", "calibration", "test")


@dataclass(frozen=True, slots=True)
class Tile:
    """One registered pair of tiles, before its pixels are read.

    `grade` is None where the pair has no label; `patient` is None where the data does not tell
    patients apart; `part` is the split that the data itself names ("train", "validation",
    "calibration" or "test"), None where it leaves it open.
    """

    name: str
    grade: int | None
    patient: str | None = None
    part: str | None = None


class TileSource(Protocol):
    """Registered pairs of tiles with their grades."""

    tiles: Sequence[Tile]
    tile_px: int
    mpp: float
    identity: str
    """Text that names the pixels: equal for equal tiles, so that a cache can be shared."""
    training_data: str
    """What the model card says about the data."""
    notice: str
    """The sentence that every output of a model trained on this data must carry."""
    renders: bool
    """Whether reading is slow enough to need processes and to be done only once."""

    def read(self, index: int) -> NDArray[np.uint8]:
        """One pair, (2, tile_px, tile_px, 3): H&E, then IHC."""
        ...

    def names(self, index: int) -> tuple[str, str]:
        """What messages call a pair's pictures: their files, and the manifest's line."""
        ...


class RecordedSource(TileSource, Protocol):
    """All the tiles that a run's DATA names."""

    @property
    def signature(self) -> str:
        """Text that tells other tiles by their names and the content of their files, wherever these lie.

        All files are read for it.
        """
        ...
