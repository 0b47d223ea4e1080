"""Slides that tests write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

TISSUE = ((225, 140, 190), (200, 110, 170), (170, 80, 150), (130, 50, 130))
GLASS = (243, 243, 243)


def paint_slide(
    path: Path, grades: list[list[int]], damaged: Sequence[tuple[int, int]] = ()
) -> Path:
    """Write a slide of squares of 256 px at 4 um/px, whose right grades their mean colours tell.

    Tissue is mottled, as find_tissue expects: what is dark and smooth is pen.

    In `grades` -1 is glass, 0 to 3 a `TISSUE` colour; `damaged` squares cannot be decoded.
    """
    import tifffile

    colours = np.array([*TISSUE, GLASS], dtype=np.uint8)[np.array(grades)]
    pixels = colours.repeat(256, axis=0).repeat(256, axis=1)
    mottle = np.random.default_rng(0).integers(-12, 13, (64 * len(grades), 64 * len(grades[0])))
    mottle = np.kron(mottle, np.ones((4, 4), dtype=int))[..., None]
    pixels = np.where(pixels == GLASS, pixels, pixels + mottle).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        tile=(256, 256),
        compression="zlib",
        resolution=(2_500, 2_500),
        resolutionunit="CENTIMETER",
    )
    with tifffile.TiffFile(path) as tiff:
        offsets = np.array(tiff.pages[0].dataoffsets).reshape(colours.shape[:2])
    with path.open("r+b") as file:
        for place in damaged:
            file.seek(int(offsets[place]))
            file.write(b"damaged!")
    return path


def write_zarr(
    path: Path,
    levels: list[np.ndarray],
    version: str = "0.5",
    axes: str = "cyx",
    unit: str | None = "micrometer",
    scale: float = 0.5,
    chunk_px: int = 32,
) -> None:
    """Write an OME-Zarr store of (y, x, c) levels, with the axes asked for and the version's metadata."""
    import zarr

    kinds = {"c": "channel", "t": "time", "z": "space", "y": "space", "x": "space"}
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for index, level in enumerate(levels):
        data = np.moveaxis(level, -1, 0)
        data = data.reshape([data.shape["cyx".index(a)] if a in "cyx" else 1 for a in axes])
        chunks = tuple(chunk_px if axis in "yx" else 1 for axis in axes)
        group.create_array(str(index), data=data, chunks=chunks)
        factor = [scale * 2**index if axis in "yx" else 1.0 for axis in axes]
        transforms = [{"type": "scale", "scale": factor}]
        datasets.append({"path": str(index), "coordinateTransformations": transforms})
    names: list[dict[str, Any]] = [{"name": axis, "type": kinds[axis]} for axis in axes]
    for name in names:
        if name["name"] in "yx" and unit:
            name["unit"] = unit
    image = {"axes": names, "datasets": datasets, "name": "slide"}
    if version == "0.4":
        group.attrs["multiscales"] = [{**image, "version": version}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
