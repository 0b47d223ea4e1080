"""OME-Zarr 0.4 and 0.5: ome-zarr-models checks the metadata, zarr reads the chunks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ome_zarr_models.v04.multiscales import Multiscale as Multiscale04
from ome_zarr_models.v05.multiscales import Multiscale as Multiscale05
from pydantic import ValidationError
from upath import UPath

from napari_hmkd.errors import SlideError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends.location import is_remote, reason_of, remote_store
from napari_hmkd.slide.backends.pixel_size import PixelSize
from napari_hmkd.slide.backends.protocol import (
    LARGEST_PIECE_BYTES,
    Level,
    flatten_on_white,
    make_levels,
)

_UM_PER_UNIT = {
    "meter": 1e6,
    "centimeter": 1e4,
    "millimeter": 1e3,
    "micrometer": 1.0,
    "nanometer": 1e-3,
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "inch": 25400.0,
}
_DAMAGED = "That part of the store is damaged; other parts may be sound."
_TRY_AGAIN = "Look at the network and the server, and try again; other parts may be sound."
_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


class ZarrBackend:
    """Reads the first multiscale image of a store; (c, y, x) becomes (y, x, c).

    A chunk that the store does not have is its fill value, as zarr defines it.
    """

    name = "zarr"
    vendor = "ome-zarr"
    icc_profile = None
    origin_px = (0, 0)

    def __init__(self, path: Path | UPath) -> None:
        self._path = path
        group = _image_group(path)
        self._multiscale = _multiscale(group, path)
        self._axes = [str(axis.name) for axis in self._multiscale.axes]
        paths = [dataset.path for dataset in self._multiscale.datasets]
        self._arrays = [_array(group, name, path) for name in paths]
        for array in self._arrays:
            _require_colour(array, self._axes, path)
        self.properties = {"ome-zarr.name": str(self._multiscale.name or path.name)}
        self.levels = self._levels()
        self.pixel_sizes = self._pixel_sizes()

    def _levels(self) -> tuple[Level, ...]:
        y, x = self._axes.index("y"), self._axes.index("x")
        sizes = [Size(array.shape[y], array.shape[x]) for array in self._arrays]
        tiles = [Size(array.chunks[y], array.chunks[x]) for array in self._arrays]
        return make_levels(sizes, tiles, whole_tiles=True)

    def _pixel_sizes(self) -> tuple[PixelSize, ...]:
        scale = self._scale()
        sides = []
        for name in "yx":
            index = self._axes.index(name)
            um = _UM_PER_UNIT.get(str(self._multiscale.axes[index].unit))
            if um is None:
                return ()  # a scale without a unit of length is no pixel size
            sides.append(scale[index] * um)
        return (PixelSize((sides[0], sides[1]), "OME-Zarr scale"),)

    def _scale(self) -> list[float]:
        """Scale of level 0: its own, times the one that the whole image has."""
        scale = [1.0] * len(self._axes)
        own = self._multiscale.datasets[0].coordinateTransformations
        for transform in (*own, *(self._multiscale.coordinateTransformations or ())):
            if transform.type == "scale":
                scale = [a * float(b) for a, b in zip(scale, transform.scale, strict=True)]
        return scale

    def read(self, level: int, region: Region) -> np.ndarray:
        """See `Backend.read`."""
        wanted = {
            "y": slice(region.y, region.bottom),
            "x": slice(region.x, region.right),
            "c": slice(None),
        }
        try:
            block = self._arrays[level][tuple(wanted.get(name, 0) for name in self._axes)]
        except Exception as error:  # codecs raise what they like on damaged data
            raise SlideReadError(
                f"'{self._path.name}', level {level}, rows {region.y} to {region.bottom}, columns "
                f"{region.x} to {region.right} cannot be read: {reason_of(error)}. "
                + (_TRY_AGAIN if is_remote(self._path) else _DAMAGED)
            ) from error
        order = [name for name in self._axes if name in wanted]
        channels = np.moveaxis(np.asarray(block), order.index("c"), 0)
        if order.index("y") > order.index("x"):
            channels = channels.swapaxes(1, 2)
        pixels = np.empty((region.height, region.width, len(channels)), np.uint8)
        for index, channel in enumerate(channels):  # five times as fast as a transposed copy
            pixels[..., index] = channel
        return flatten_on_white(pixels) if pixels.shape[-1] == 4 else pixels

    def close(self) -> None:
        """See `Backend.close`. A folder store holds no file open."""


def _image_group(path: Path | UPath) -> zarr.Group:
    """The group itself, or image 0 of a store that bioformats2raw wrote."""
    group = _root(path)
    attributes = group.attrs.get("ome", group.attrs)
    if "multiscales" not in attributes and "bioformats2raw.layout" in attributes:
        image = group.get("0")
        return image if isinstance(image, zarr.Group) else group
    return group


def _root(path: Path | UPath) -> zarr.Group:
    if not is_remote(path):
        return zarr.open_group(path, mode="r")
    try:
        return zarr.open_group(remote_store(path), mode="r")
    except FileNotFoundError as error:
        raise SlideError(
            f"'{path}' holds no zarr group. Over a network only OME-Zarr is read: give the address of "
            "the image's folder, or copy a slide of another format to this machine."
        ) from error


def _multiscale(group: zarr.Group, path: Path | UPath) -> Multiscale04 | Multiscale05:
    attributes: Any = group.attrs.asdict()
    model = Multiscale05 if "ome" in attributes else Multiscale04
    try:
        first = attributes.get("ome", attributes)["multiscales"][0]
        return model.model_validate(first)
    except (KeyError, IndexError, TypeError) as error:
        raise SlideError(
            f"'{path}' is a zarr store without an OME-Zarr image (no 'multiscales'). "
            "Open the folder of the image itself, or convert it to OME-Zarr 0.4 or 0.5."
        ) from error
    except ValidationError as error:
        raise SlideError(f"'{path}' has unusable OME-Zarr metadata: {error}") from error


def _array(group: zarr.Group, name: str, path: Path | UPath) -> zarr.Array:
    try:
        array = group[name]
    except KeyError as error:
        raise SlideError(f"'{path}' names a level '{name}' that is not there.") from error
    if not isinstance(array, zarr.Array):
        raise SlideError(f"'{path}' names a level '{name}' that is no array.")
    return array


def _require_colour(array: zarr.Array, axes: list[str], path: Path | UPath) -> None:
    shape = dict(zip(axes, array.shape, strict=False))
    chunk = math.prod(array.chunks) * array.dtype.itemsize
    if chunk > LARGEST_PIECE_BYTES:
        raise SlideError(
            f"'{path}' is stored in chunks of {chunk:,} bytes, each of which is read whole; "
            f"{LARGEST_PIECE_BYTES:,} are the limit. Write it again in smaller chunks."
        )
    single = all(shape.get(name, 1) == 1 for name in axes if name not in "cyx")
    colour = shape.get("c") in (3, 4) and array.dtype == np.uint8
    if not (single and colour and len(axes) == array.ndim and {"y", "x"} <= set(axes)):
        raise SlideError(
            f"'{path}' is no slide that can be graded: its axes are {axes}, its shape "
            f"{array.shape}, its pixels {array.dtype}. Needed are 3 channels of 8 bits, one plane."
        )
