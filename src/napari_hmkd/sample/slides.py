"""Procedural sections as files: pyramidal OME-TIFFs, and the sample slide of the demo."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from dask.system import CPU_COUNT
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from napari_hmkd.errors import OutputError
from napari_hmkd.geometry import Size
from napari_hmkd.leftovers import hidden_beside, in_use, patiently, tidy_up
from napari_hmkd.sample.tissue import ProceduralTissue, Stain
from napari_hmkd.user_folders import user_folder

SAMPLE_SEED = 59
SAMPLE_SIZE = Size(9216, 12288)
SAMPLE_MPP = 0.46
# Part of the cached files' names: raise it whenever the drawing changes.
_SAMPLE_VERSION = 1

_TILE_PX = 512
_SMALLEST_LEVEL_PX = 1024
_JPEG_QUALITY = 88

Progress = Callable[[float], None]


@dataclass(frozen=True)
class SamplePair:
    """Files of the sample slide: the H&E and the registered IHC of the same section."""

    he: Path
    ihc: Path


def sample_tissue() -> ProceduralTissue:
    """The section that the sample slide shows, with its truth."""
    extent = (SAMPLE_SIZE.height * SAMPLE_MPP, SAMPLE_SIZE.width * SAMPLE_MPP)
    return ProceduralTissue(SAMPLE_SEED, extent)


def sample_slide(progress: Progress | None = None) -> SamplePair:
    """The sample slide, drawn on first use and kept in the user's cache folder.

    Parameters
    ----------
    progress : callable, optional
        Called with the share done, 0 to 1, while the slide is drawn.

    Raises
    ------
    OutputError
        If it cannot be written there, or the user has no home.
    """
    folder = user_folder("cache")
    pair = SamplePair(
        *(folder / f"sample-{stain}-v{_SAMPLE_VERSION}.ome.tif" for stain in ("he", "ihc"))
    )
    stains: tuple[Stain, Stain] = ("he", "ihc")
    try:
        tidy_up([pair.he, pair.ihc], ())
        for half, (stain, path) in enumerate(zip(stains, (pair.he, pair.ihc), strict=True)):
            if path.exists():
                continue

            def report(share: float, half: int = half) -> None:
                if progress is not None:
                    progress((half + share) / 2)

            folder.mkdir(parents=True, exist_ok=True)
            write_slide(path, sample_tissue(), stain, SAMPLE_MPP, report)
    except OSError as error:
        raise OutputError(
            f"asked for the sample slide, which is drawn once to {folder}, but: {error}; look at "
            "the folder's permissions and the free space (about 200 MB)"
        ) from error
    return pair


def write_slide(
    path: Path,
    tissue: ProceduralTissue,
    stain: Stain,
    mpp: float,
    progress: Progress | None = None,
) -> None:
    """Write one stain of a section as a tiled, pyramidal OME-TIFF, strip by strip.

    Parameters
    ----------
    path : Path
        Target; it appears only once it is complete.
    tissue : ProceduralTissue
    stain : "he" or "ihc"
    mpp : float
        Pixel size of level 0 in um.
    progress : callable, optional
        Called with the share done, 0 to 1.
    """
    size = Size(*(round(extent / mpp) for extent in tissue.size_um))
    sizes = _level_sizes(size)
    with _scratch_beside(path) as scratch:
        # In memory, a third of level 0: in mapped files a full disk would end the process (SIGBUS).
        levels = [np.empty((s.height, s.width, 3), np.uint8) for s in sizes[1:]]
        partial = scratch / "slide.ome.tif"
        tiles = _draw_tiles(tissue, stain, size, mpp, levels[0] if levels else None, progress)
        options = {
            "tile": (_TILE_PX, _TILE_PX),
            "photometric": "rgb",
            "compression": "jpeg",
            "compressionargs": {"level": _JPEG_QUALITY},
        }
        unit = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        metadata = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp, **unit}
        with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as writer:
            writer.write(
                tiles,
                shape=(size.height, size.width, 3),
                dtype=np.uint8,
                subifds=len(levels),
                metadata=metadata,
                **options,
            )
            for k in range(len(levels)):
                if k:
                    _halve(levels[k - 1], levels[k])
                writer.write(levels[k], subfiletype=1, metadata=None, **options)
        tiles.close()
        patiently(lambda: os.replace(partial, path))
    if progress is not None:
        progress(1.0)


@contextmanager
def _scratch_beside(path: Path) -> Iterator[Path]:
    """A folder that goes at the end, or else by `tidy_up`: Windows keeps what another program looks into."""
    scratch = hidden_beside(path, "part")
    with in_use(scratch):
        try:
            scratch.mkdir()
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _level_sizes(size: Size) -> list[Size]:
    """Sizes of the pyramid, halved until the longer side is small."""
    sizes = [size]
    while max(sizes[-1].height, sizes[-1].width) > _SMALLEST_LEVEL_PX:
        sizes.append(Size(sizes[-1].height // 2, sizes[-1].width // 2))
    return sizes


def _draw_tiles(
    tissue: ProceduralTissue,
    stain: Stain,
    size: Size,
    mpp: float,
    half: NDArray[np.uint8] | None,
    progress: Progress | None,
) -> Generator[NDArray[np.uint8], None, None]:
    """Tiles of level 0 in file order; their halved copy is put into `half` on the way."""

    def draw(corner: tuple[int, int]) -> NDArray[np.uint8]:
        origin_um = (corner[0] * mpp, corner[1] * mpp)
        return tissue.render(stain, origin_um, Size(_TILE_PX, _TILE_PX), mpp)

    rows = range(0, size.height, _TILE_PX)
    # The small matrix products of the noise lose more to BLAS threads than they gain.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(CPU_COUNT) as pool:
        for y in rows:
            if progress is not None:
                progress(y / size.height)
            corners = [(y, x) for x in range(0, size.width, _TILE_PX)]
            for (_, x), tile in zip(corners, pool.map(draw, corners), strict=True):
                if half is not None:
                    _halve(tile, half[y // 2 : (y + _TILE_PX) // 2, x // 2 : (x + _TILE_PX) // 2])
                yield tile


def _halve(image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write the means of 2 x 2 pixels of `image` into `out`, as far as `out` reaches."""
    height, width = out.shape[:2]
    for y in range(0, height, _TILE_PX):
        part = image[2 * y : 2 * min(y + _TILE_PX, height), : 2 * width].astype(np.uint16)
        total = part[0::2, 0::2] + part[1::2, 0::2] + part[0::2, 1::2] + part[1::2, 1::2]
        out[y : y + _TILE_PX] = (total + 2) // 4
