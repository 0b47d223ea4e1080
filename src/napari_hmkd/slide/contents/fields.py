"""A handful of fields of tissue, spread over a slide: what its stain and focus are judged by."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Size
from napari_hmkd.slide.contents.tissue import TissueMask
from napari_hmkd.slide.slide import Slide

_SIDE_PX = 256
_COUNT = 12
_FINEST_UM = 1.0
_MIN_TISSUE = 0.5  # of a field's area; where no field has as much, of the fullest field's


@dataclass(frozen=True, eq=False)
class Field:
    """A part of a slide.

    Attributes
    ----------
    pixels : uint8 (height, width, 3)
        All of it inside the slide.
    tissue : bool (height, width)
        Which pixels the slide's tissue mask calls tissue.
    um_per_px : float
        Pixel size, 1 um or the slide's own, whichever is coarser.
    """

    pixels: np.ndarray
    tissue: np.ndarray
    um_per_px: float


def sample_fields(slide: Slide, tissue: TissueMask) -> list[Field]:
    """Read up to 12 fields of 256 px, most of each tissue, evenly spread in reading order.

    A field that cannot be read is left out.

    Raises
    ------
    PixelSizeError
        The slide has no pixel size.
    SlideReadError
        The slide was closed before, or its disk or network does not answer.
    """
    own_y, own_x = slide.require_mpp()
    um_per_px = max(_FINEST_UM, own_y, own_x)
    step = (um_per_px / own_y, um_per_px / own_x)

    def read(y: float, x: float) -> Field | None:
        size = Size(
            min(_SIDE_PX, max(1, int((slide.size.height - y) / step[0]))),
            min(_SIDE_PX, max(1, int((slide.size.width - x) / step[1]))),
        )
        try:
            pixels = slide.read((y, x), size, um_per_px)
        except SlideStalledError:
            raise
        except SlideReadError:  # damage is told by the grading, tile by tile
            return None
        rows = _mask_index(y, step[0], size.height, tissue.downsample[0], tissue.mask.shape[0])
        columns = _mask_index(x, step[1], size.width, tissue.downsample[1], tissue.mask.shape[1])
        return Field(pixels, tissue.mask[np.ix_(rows, columns)], um_per_px)

    places = _places(slide, tissue, (_SIDE_PX * step[0], _SIDE_PX * step[1]))
    with closing(slide.in_order((partial(read, *place) for place in places), _COUNT)) as fields:
        return [field for field in fields if field is not None]


def _places(
    slide: Slide, tissue: TissueMask, side: tuple[float, float]
) -> list[tuple[float, float]]:
    """Top left corners of the fields, level-0 pixels (y, x)."""
    counts = (math.ceil(slide.size.height / side[0]), math.ceil(slide.size.width / side[1]))
    origins = np.indices(counts).reshape(2, -1).T * np.array(side)
    share = tissue.fraction(origins, side)
    origins = origins[(share > 0) & (share >= _MIN_TISSUE * min(1.0, 2 * share.max()))]
    chosen = np.unique(np.linspace(0, len(origins) - 1, min(_COUNT, len(origins))).round())
    return [(float(y), float(x)) for y, x in origins[chosen.astype(int)]]


def _mask_index(
    start: float, step: float, count: int, downsample: float, length: int
) -> np.ndarray:
    """Which row or column of the mask each pixel of a field lies in, int (count,)."""
    centres = start + (np.arange(count) + 0.5) * step
    return np.clip((centres / downsample).astype(int), 0, length - 1)
