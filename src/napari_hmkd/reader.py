"""napari's reader: a slide becomes a lazy multiscale layer at true scale."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.layers import LayerData, slide_layer
from napari_hmkd.results import is_result_folder, result_layers
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.slide.backends.location import is_remote, locate
from napari_hmkd.slide.backends.opening import is_tiff
from napari_hmkd.slide.backends.parts_beside import is_mirax_data
from napari_hmkd.slide.suffixes import (
    ARCHIVE_SUFFIXES,
    STORE_SUFFIX,
    TIFF_SUFFIXES,
    VENDOR_SUFFIXES,
)

_OTHER_SUFFIXES = TIFF_SUFFIXES | {".dcm", STORE_SUFFIX}
_TIFFS = ("tiff", "ome-tiff", "generic-tiff")
_LARGE_PX = 4096
_LARGE_BYTES = 100_000_000
_PROBE_PX = 64
_PROBE_LIMIT_S = 5.0  # the window waits

Paths = str | os.PathLike[str] | Sequence[str]
Reader = Callable[[Paths], list[LayerData]]


def get_reader(path: Paths) -> Reader | None:
    """The npe2 reader contribution: a function that reads `path`, or None.

    None leaves the path to other readers: several paths at once, a file of another kind, and a
    plain small TIFF (no pyramid, shorter than 4096 px). Taken are, so that there is a message: an
    address of an OME-Zarr store, unseen; a file that does not answer; a TIFF of more than 100 MB that
    cannot be opened, and several paths or a folder with such a TIFF or a vendor's file among them, as
    other readers would load the whole of it.

    What had to be opened to be known is opened once: the function goes on with it.
    """
    if not isinstance(path, (str, os.PathLike)):
        return get_reader(path[0]) if len(path) == 1 else _reader_of_several(path)
    try:
        where = locate(path)
    except SlideError:  # an address of another kind
        return None
    suffix = where.suffix.lower()
    if is_remote(where):
        return read_slides if suffix == STORE_SUFFIX else None
    if is_result_folder(where):  # it has its slide's name, suffix and all
        return _read_result_folder
    if suffix in VENDOR_SUFFIXES or where.name.lower().endswith(ARCHIVE_SUFFIXES):
        return read_slides
    if suffix not in _OTHER_SUFFIXES and not os.path.isdir(where):
        return None
    return _reader_of_opened(where)


def read_slides(path: Paths) -> list[LayerData]:
    """Layers of the slide at `path`.

    Raises
    ------
    SlideError
        It cannot be opened, or nothing of it can be read; the message says what was tried.
    """
    paths = [path] if isinstance(path, (str, os.PathLike)) else path
    return [_layer(open_slide(one)) for one in paths]


def _read_result_folder(path: Paths) -> list[LayerData]:
    folders = [path] if isinstance(path, (str, os.PathLike)) else path
    return [layer for one in folders for layer in result_layers(Path(one))]


def _layer(slide: Slide) -> LayerData:
    try:
        _require_readable(slide)
    except SlideReadError:
        slide.close()
        raise
    return slide_layer(slide)


def _reader_of_opened(path: Path) -> Reader | None:
    """For a file of no vendor: it is worth a lazy layer if it is a pyramid, or large."""
    try:
        slide = open_slide(path)
    except SlideStalledError as error:
        return partial(_refuse, error)
    except SlideError as error:
        if os.path.isdir(path) and not is_mirax_data(path):
            return _reader_of_several(_files_in(path))
        return partial(_refuse, error) if os.path.isdir(path) or _is_large_tiff(path) else None
    large = max(slide.size.height, slide.size.width) >= _LARGE_PX
    if slide.vendor not in _TIFFS or len(slide.levels) > 1 or large:
        return lambda _: [_layer(slide)]
    slide.close()
    return None


def _reader_of_several(paths: Iterable[str | Path]) -> Reader | None:
    """A refusal where a slide or the results of one are among them."""
    files = [Path(one) for one in paths]
    if (results := next(filter(is_result_folder, files), None)) is not None:
        found = f"the folder '{results.name}' in it has the results of a slide. Open '{results.name}' by itself."
    elif (large := next(filter(_is_large, files), None)) is not None:
        found = (
            f"'{large.name}' in it is a whole slide: all of them would be loaded whole. Open the slides "
            "one by one."
        )
    else:
        return None
    return partial(_refuse, SlideError(f"A folder or a stack of files was opened, and {found}"))


def _refuse(error: SlideError, path: Paths) -> list[LayerData]:
    """A reader that says why there is none."""
    raise error


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # nobody can read it
        return []


def _is_large(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in VENDOR_SUFFIXES or (suffix in TIFF_SUFFIXES and _is_large_tiff(path))


def _is_large_tiff(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > _LARGE_BYTES and is_tiff(path)
    except OSError:  # nobody can read it
        return False


def _require_readable(slide: Slide) -> None:
    """One look at the middle of the coarsest level; if that part is damaged, at all of it."""
    level = len(slide.levels) - 1
    size = slide.levels[level].size
    middle = Region(size.height // 2, size.width // 2, _PROBE_PX, _PROBE_PX)
    try:
        slide.in_time(partial(slide.read_level, level, middle), _PROBE_LIMIT_S, urgent=True)
    except SlideStalledError:
        raise
    except SlideReadError:
        slide.thumbnail()
