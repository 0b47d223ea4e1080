"""Headers that a TIFF keeps of the file it was made from, though its pages are laid out otherwise.

libvips copies the description to each level of a pyramid, GDAL to the first, and large-image quotes it.
tifffile goes by what Aperio, ImageJ, OME or tifffile itself wrote there: it then finds fewer levels than
there are, or ends with an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import islice

import tifffile

from napari_hmkd.geometry import Size
from napari_hmkd.slide.backends.protocol import same_proportions
from napari_hmkd.slide.backends.tiff_metadata import ome_pixels

_MOST_LEVELS = 64
_KINDS = ("is_svs", "is_ome", "is_imagej", "is_philips", "is_scn")


def forget_copied_headers(tiff: tifffile.TiffFile) -> None:
    """Have `tiff.series` go by the pages where they are not laid out as the header's writer does it.

    Call it before `tiff.series`. What the headers say of the pixel size is still found.
    """
    kinds = [kind for kind in _KINDS if getattr(tiff, kind)]
    if not (kinds or tiff.is_shaped):
        return
    pages = list(islice(tiff.pages, _MOST_LEVELS))
    if tiff.is_shaped and not _shapes_fit(pages):
        tiff.is_shaped = False
    # A page that the header tells of as an image of its own: it is this file's header.
    told = tiff.is_ome and any(ome_pixels(tiff, page) for page in pages[1:])
    if not kinds or told or not _are_a_pyramid(pages, sub_pages=not tiff.is_ome):
        return
    for kind in kinds:
        setattr(tiff, kind, False)
    _ = tiff.series  # it is kept
    for kind in kinds:
        setattr(tiff, kind, True)


def _are_a_pyramid(pages: Sequence[tifffile.TiffPage], sub_pages: bool) -> bool:
    """Whether the levels are pages behind the first that say to be reduced, or lie below it."""
    first = pages[0]
    if first.samplesperpixel < 3:  # a header is needed to tell which pages are its colours
        return False
    return bool(sub_pages and first.subifds) or any(
        page.is_reduced
        and page.is_tiled
        and page.description in ("", first.description)
        and same_proportions(_size(page), _size(first))
        for page in pages[1:]
    )


def _size(page: tifffile.TiffPage) -> Size:
    return Size(page.imagelength, page.imagewidth)


def _shapes_fit(pages: Sequence[tifffile.TiffPage]) -> bool:
    """Whether each shape that is told is that of a page and of those behind it that are alike."""
    for index, page in enumerate(pages):
        told = page.shaped_description
        if told is None or not told.startswith("{"):
            continue
        try:
            shape = json.loads(told)["shape"]
            count, rest = divmod(math.prod(shape), math.prod(page.shape) or 1)
        except (ValueError, KeyError, TypeError):
            return False
        if rest or any(one.shape != page.shape for one in pages[index + 1 : index + count]):
            return False
    return True
