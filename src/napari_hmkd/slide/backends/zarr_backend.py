"""OME-Zarr 0.4 and 0.5, in folders, ZIP files or at addresses.

ome-zarr-models checks the metadata, zarr reads the chunks.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path

import numpy as np
import zarr
from upath import UPath
from zarr.errors import ContainsArrayError

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide.backends.location import (
    is_remote,
    is_stall,
    read_file,
    reason_of,
    remote_store,
)
from napari_hmkd.slide.backends.pixel_size import PixelSize, um_per_unit
from napari_hmkd.slide.backends.protocol import (
    LARGEST_PIECE_BYTES,
    Level,
    longer_ratio,
    same_proportions,
)
from napari_hmkd.slide.backends.shared_file import FileClosedError
from napari_hmkd.slide.backends.zarr_archive import MARKS, ArchivedStore
from napari_hmkd.slide.backends.zarr_metadata import (
    ReadFile,
    checked_multiscale,
    colours_problem,
    slide_image,
)

_LOG = logging.getLogger(__name__)
_DAMAGED = "That part of the store is damaged; other parts may be sound."
_LOOK_AT_DISK = "Look whether its disk or network drive answers, and try again."
_LOOK_AT_SERVER = "Look at the network and the server, and try again; other parts may be sound."
_SHARDS_NEED_RANGES = (
    "Its chunks lie in shards, of which parts are asked for: most likely the server ignores Range requests, "
    "as 'python -m http.server' does. Use one that answers them, or copy the store to this machine."
)
_REMOTE_PX = 512  # side of what is asked for at once over a network
_MOST_COUNTED = 2048  # chunks: more files take too long to count on a network drive
_MANY_MISSING = 0.1


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


class ZarrBackend:
    """Reads the largest multiscale image of a store that is no label; (c, y, x) becomes (y, x, c).

    A chunk that the store does not have is its fill value, as zarr defines it. Over a network a
    tile is many chunks: zarr asks for the chunks of one read at once, and for those of two in turn.
    """

    name = "zarr"
    vendor = "ome-zarr"
    icc_profile = None
    origin_px = (0, 0)
    files_beside = ()

    def __init__(self, path: Path | UPath) -> None:
        self._path = path
        self._archive = None if is_remote(path) or path.is_dir() else ArchivedStore(path)
        try:
            self._open(path)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path | UPath) -> None:
        read = self._archive.read_file if self._archive else partial(read_file, path)
        image, self.warnings = slide_image(_root(path, self._archive, read), path, read)
        self._multiscale = checked_multiscale(image, path)
        self._axes = [str(axis.name) for axis in self._multiscale.axes]
        paths = [dataset.path for dataset in self._multiscale.datasets]
        self._arrays = [_array(image.group, name, path) for name in paths]
        problem = colours_problem(image.group)
        for array in self._arrays:
            _require_colour(array, self._axes, problem, path)
            _warn_of_missing_chunks(array, path)
        self._leave_out_other_pictures(paths)
        self.properties = {"ome-zarr.name": str(self._multiscale.name or path.name)}
        if image.group.path:
            self.properties["ome-zarr.image"] = image.group.path
        self.levels = self._levels()
        self.pixel_sizes = self._pixel_sizes()

    def _leave_out_other_pictures(self, names: list[str]) -> None:
        """Leave out levels that are no smaller copies of the first: OME-Zarr can shrink one axis alone."""
        first, kept = self._size(self._arrays[0]), self._arrays[:1]
        for name, array in zip(names[1:], self._arrays[1:], strict=True):
            size = self._size(array)
            if size.height * size.width > first.height * first.width:
                raise SlideError(
                    f"'{self._path}' has a level of {size.height:,} x {size.width:,} px behind the first, of "
                    f"{first.height:,} x {first.width:,} px, which has to be the largest. Write it again."
                )
            if same_proportions(size, first):
                kept.append(array)
            else:
                self.warnings += (
                    f"the level '{name}' has other proportions than the first one and is left out",
                )
        self._arrays = kept

    def _size(self, array: zarr.Array) -> Size:
        return Size(array.shape[self._axes.index("y")], array.shape[self._axes.index("x")])

    def _levels(self) -> tuple[Level, ...]:
        y, x = self._axes.index("y"), self._axes.index("x")
        sizes = [self._size(array) for array in self._arrays]
        sides = _many_chunks if is_remote(self._path) else int
        tiles = [Size(sides(array.chunks[y]), sides(array.chunks[x])) for array in self._arrays]
        return tuple(
            Level(size, longer_ratio(sizes[0], size), tile, whole_tiles=True, own_threads=True)
            for size, tile in zip(sizes, tiles, strict=True)
        )

    def _pixel_sizes(self) -> tuple[PixelSize, ...]:
        scale = self._scale()
        sides = []
        for name in "yx":
            index = self._axes.index(name)
            um = um_per_unit(self._multiscale.axes[index].unit)
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
        array = self._arrays[level]
        try:
            block = np.asarray(array[tuple(wanted.get(name, 0) for name in self._axes)])
            _require_array(array, block)
        except Exception as error:  # codecs raise what they like on damaged data
            raise self._failure(level, region, error) from error
        order = [name for name in self._axes if name in wanted]
        channels = np.moveaxis(block, order.index("c"), 0)
        if order.index("y") > order.index("x"):
            channels = channels.swapaxes(1, 2)
        pixels = np.empty((region.height, region.width, len(channels)), np.uint8)
        for index, channel in enumerate(channels):  # five times as fast as a transposed copy
            pixels[..., index] = channel
        return pixels

    def _failure(self, level: int, region: Region, error: Exception) -> SlideReadError:
        """What a failed read is for its caller: damage of one place, or a stall of all."""
        from aiohttp import ClientResponseError

        if isinstance(error, FileClosedError):
            return SlideReadError(f"'{self._path.name}', level {level}, {region}: {error}.")
        stalled = is_stall(error)
        local = _LOOK_AT_DISK if stalled or isinstance(error, FileNotFoundError) else _DAMAGED
        advice = _LOOK_AT_SERVER if is_remote(self._path) else local
        refused = isinstance(error, ClientResponseError)
        if is_remote(self._path) and self._arrays[level].shards and not (stalled or refused):
            advice = _SHARDS_NEED_RANGES
        return (SlideStalledError if stalled else SlideReadError)(
            f"'{self._path.name}', level {level}, {region} cannot be read: "
            f"{reason_of(error).rstrip('.')}. {advice}"
        )

    def close(self) -> None:
        """See `Backend.close`. A ZIP file is held open, a folder's files are not."""
        if self._archive is not None:
            self._archive.close()


def _root(path: Path | UPath, archive: ArchivedStore | None, read: ReadFile) -> zarr.Group:
    try:
        if archive is not None:
            return zarr.open_group(archive, path=archive.root, mode="r")
        return zarr.open_group(remote_store(path) if is_remote(path) else path, mode="r")
    except (FileNotFoundError, ContainsArrayError) as error:
        # Of an array of zarr 2 it is said that there is no group.
        if isinstance(error, ContainsArrayError) or (
            not is_remote(path) and read(".zarray") is not None
        ):
            raise SlideError(
                f"'{path}' is a single zarr array, such as one level of an image. Open the folder of the "
                "image, which may be the one above."
            ) from error
        if not is_remote(path):
            raise
        raise SlideError(
            f"'{path}' holds no zarr group. Over a network only OME-Zarr is read: give the address of "
            "the image's folder, or copy a slide of another format to this machine."
        ) from error


def _array(group: zarr.Group, name: str, path: Path | UPath) -> zarr.Array:
    try:
        array = group[name]
    except KeyError as error:
        raise SlideError(f"'{path}' names a level '{name}' that is not there.") from error
    if not isinstance(array, zarr.Array):
        raise SlideError(f"'{path}' names a level '{name}' that is no array.")
    return array


def _many_chunks(side: int) -> int:
    """Side of whole chunks near 512 px."""
    return side * max(1, round(_REMOTE_PX / side))


def _require_array(array: zarr.Array, block: np.ndarray) -> None:
    """Of an array that is gone zarr reads the fill value: then it is looked whether it is there."""
    fill = array.fill_value or 0
    if block.size and (block.flat[0] != fill or (block != fill).any()):
        return
    try:
        zarr.open_array(
            array.store, path=array.path, zarr_format=array.metadata.zarr_format, mode="r"
        )
    except FileNotFoundError as error:
        raise FileNotFoundError("the store is gone, or not copied whole") from error


def _warn_of_missing_chunks(array: zarr.Array, path: Path | UPath) -> None:
    """No error: a writer may leave out chunks that are empty. A copy that was cut off looks the same."""
    if is_remote(path) or array.shards is not None or array.nchunks > _MOST_COUNTED:
        return
    missing = array.nchunks - array.nchunks_initialized
    if missing > _MANY_MISSING * array.nchunks:
        _LOG.warning(
            "'%s' lacks %d of %d chunks of level '%s', which are shown in one colour. Where that is no "
            "empty part of the slide, the store was not copied whole: copy it again.",
            path, missing, array.nchunks, array.basename,
        )  # fmt: skip


def _require_colour(
    array: zarr.Array, axes: list[str], channels: str | None, path: Path | UPath
) -> None:
    shape = dict(zip(axes, array.shape, strict=False))
    chunk = math.prod(array.chunks) * array.dtype.itemsize
    if chunk > LARGEST_PIECE_BYTES:
        raise SlideError(
            f"'{path}' is stored in chunks of {chunk:,} bytes, each of which is read whole; "
            f"{LARGEST_PIECE_BYTES:,} are the limit. Write it again in smaller chunks."
        )
    single = all(shape.get(name, 1) == 1 for name in axes if name not in "cyx")
    colour = shape.get("c") == 3 and array.dtype == np.uint8
    if not (single and colour and len(axes) == array.ndim and {"y", "x"} <= set(axes)):
        raise SlideError(
            f"'{path}' is no slide that can be graded: its axes are {axes}, its shape "
            f"{array.shape}, its pixels {array.dtype}. Needed are 3 channels of 8 bits, one plane."
        )
    if channels:
        raise SlideError(
            f"'{path}' is no slide that can be graded: {channels}. Needed are the channels red, green "
            "and blue of a brightfield scan."
        )
