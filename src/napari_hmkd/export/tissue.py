"""`tissue.png`: which tissue was graded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from napari_hmkd.slide import TissueMask

TISSUE_FILE = "tissue.png"


def write_tissue(tissue: TissueMask, path: Path) -> None:
    """Write a mask as a grey PNG, one pixel per pixel of the mask: 255 is tissue, 0 is none."""
    Image.fromarray(np.where(tissue.mask, np.uint8(255), np.uint8(0))).save(path)
