"""Slides for the benchmarks, from a few squares of procedural tissue that are used again and again.

What a tile costs to decode depends on what it shows: hence tissue, and neither noise nor one colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import zarr

from napari_hmkd.geometry import Size
from napari_hmkd.sample import ProceduralTissue

MPP = 0.5
TILE_PX = 256
QUALITY = 80
_FIELD_PX = 1024
_FACTORS = (1, 4, 16)
_RESOLUTION = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}
_YCBCR = {
    "photometric": "ycbcr",
    "subsampling": (2, 2),
    "compression": "jpeg",
    "tile": (TILE_PX, TILE_PX),
}


@cache
def field(mpp: float = MPP, side_px: int = _FIELD_PX) -> np.ndarray:
    """A square of tissue with a little glass: uint8 (side_px, side_px, 3)."""
    corner_um = (500.0, 500.0)
    extent_um = corner_um[0] + mpp * side_px
    tissue = ProceduralTissue(59, (extent_um, extent_um))
    return tissue.render("he", corner_um, Size(side_px, side_px), mpp)


def picture(side_px: int) -> np.ndarray:
    """The field and its mirror images, side by side: uint8 (side_px, side_px, 3)."""
    more = side_px - _FIELD_PX
    return np.pad(field(), ((0, more), (0, more), (0, 0)), mode="symmetric")


def _levels(side_px: int) -> list[np.ndarray]:
    whole = picture(side_px)
    return [np.ascontiguousarray(whole[::factor, ::factor]) for factor in _FACTORS]


def write_tiff(path: Path, side_px: int) -> None:
    """A generic pyramid of JPEG tiles, YCbCr with halved colours."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for index, level in enumerate(_levels(side_px)):
            # "rgb" is what is given, and stored is YCbCr: tifffile converts it.
            settings = {**_YCBCR, "photometric": "rgb", "compressionargs": {"level": QUALITY}}
            settings |= _RESOLUTION
            tiff.write(level, subfiletype=int(index > 0), **settings)


def write_svs(path: Path, side_px: int) -> None:
    """As Aperio writes: JPEG tiles whose colours stay RGB, a thumbnail in strips, plain pages."""
    levels = _levels(side_px)
    about = (
        "Aperio Image Library v12.0.15 \r\n{0}x{0} ({1}x{1}) JPEG/RGB Q={2}|AppMag = 20|MPP = {3}"
    )
    jpeg = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": QUALITY}}
    tile = (TILE_PX, TILE_PX)
    with tifffile.TiffWriter(path) as tiff:
        for index, level in enumerate(levels):
            text = about.format(len(level), TILE_PX, QUALITY, MPP)
            tiff.write(level, tile=tile, description=text, metadata=None, **jpeg)
            if index == 0:
                small = levels[-1]
                text = (
                    about.split("{0}x{0}")[0] + f"{side_px}x{side_px} -> {len(small)}x{len(small)}"
                )
                tiff.write(small, rowsperstrip=16, description=text, metadata=None, **jpeg)


def write_ome_tiff(path: Path, side_px: int) -> None:
    """Lossless deflate tiles, further levels in SubIFDs."""
    finest, *others = _levels(side_px)
    settings = {"photometric": "rgb", "compression": "zlib", "tile": (512, 512)}
    about = {"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(finest, subifds=len(others), metadata=about, **settings)
        for level in others:
            tiff.write(level, subfiletype=1, metadata=None, **settings)


def write_ome_zarr(path: Path, side_px: int) -> None:
    """OME-Zarr 0.5: one chunk a channel, blosc with zstd."""
    group = zarr.create_group(path, zarr_format=3)
    codec = zarr.codecs.BloscCodec(cname="zstd", clevel=5)
    datasets = []
    for index, level in enumerate(_levels(side_px)):
        data = np.moveaxis(level, -1, 0)
        group.create_array(str(index), data=data, chunks=(1, 512, 512), compressors=[codec])
        scale = [1.0, MPP * _FACTORS[index], MPP * _FACTORS[index]]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(index), "coordinateTransformations": transforms})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    image = {"axes": axes, "datasets": datasets, "name": path.stem}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


KINDS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "JPEG TIFF": ("tif", write_tiff),
    "Aperio SVS": ("svs", write_svs),
    "deflate OME-TIFF": ("ome.tif", write_ome_tiff),
    "OME-Zarr": ("ome.zarr", write_ome_zarr),
}
"""Suffix and writer of each kind of slide; a writer is given the path and the side in px."""


def write_sparse(
    path: Path, side_px: int, radii: Mapping[int, float], mpp: float = MPP, drawn_mpp: float = MPP
) -> None:
    """A square slide of any size within seconds: a disc of JPEG tiles, all else left out.

    Parameters
    ----------
    path : Path
    side_px : int
        Of level 0.
    radii : mapping of int to float
        Downsample of each level, and the radius of its disc as a share of the side; above 0.71
        everything is covered. The levels show tissue of one size each: pictures of nothing in common.
    mpp : float
        Pixel size of level 0, um/px.
    drawn_mpp : float
        Pixel size at which the tissue of all levels is drawn, um/px.
    """
    drawn = field(drawn_mpp, 512)
    cuts = [slice(start, start + TILE_PX) for start in range(0, len(drawn), TILE_PX)]
    tiles = [
        imagecodecs.jpeg_encode(drawn[rows, columns][::way], level=QUALITY, subsampling="420")
        for rows in cuts
        for columns in cuts
        for way in (1, -1)
    ]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for factor, radius in radii.items():
            side = -(-side_px // factor)
            tiff.write(
                _disc(tiles, -(-side // TILE_PX), radius),
                shape=(side, side, 3),
                dtype=np.uint8,
                subfiletype=int(factor > 1),
                resolution=(1e4 / (mpp * factor), 1e4 / (mpp * factor)),
                resolutionunit="CENTIMETER",
                **_YCBCR,
            )


def _disc(tiles: list[bytes], count: int, radius: float) -> Iterator[bytes]:
    """The level's tiles in their order, b"" for those that the file leaves out."""
    for row in range(count):
        for column in range(count):
            y, x = (row + 0.5) / count - 0.5, (column + 0.5) / count - 0.5
            inside = y * y + x * x < radius * radius
            yield tiles[(3 * row + 5 * column) % len(tiles)] if inside else b""


def small_slide(folder: Path) -> Path:
    """2 mm, so that hardly anything but a batch takes time."""
    path = folder / "klein.tif"
    write_sparse(path, 4096, {1: 1.0, 4: 1.0, 16: 1.0}, mpp=0.5)
    return path


def large_slide(folder: Path) -> Path:
    """25 mm."""
    path = folder / "groß.tif"
    write_sparse(path, 100_000, {1: 0.12, 4: 0.45, 16: 0.45, 64: 0.45}, mpp=0.25, drawn_mpp=2.0)
    return path


SLIDES = {"2 mm": small_slide, "25 mm": large_slide}
