"""`tissue.png`: which tissue was graded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_hmkd.slide import TissueMask

TISSUE_FILE = "tissue.png"


def write_tissue(tissue: TissueMask, path: Path, text: PngInfo) -> None:
    """Write a mask as a grey PNG with a text: one pixel per pixel of the mask, 255 tissue, 0 none."""
    picture = Image.fromarray(np.where(tissue.mask, np.uint8(255), np.uint8(0)))
    picture.save(path, pnginfo=text)
