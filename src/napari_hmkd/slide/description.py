"""What a slide is, in words: the facts that `napari-hmkd-grade info` and the panel show.

Label and macro images, and header fields that can name a patient, are never among them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.backends.pixel_size import OBJECTIVE_KEYS
from napari_hmkd.slide.pyramid import lacks_small_levels
from napari_hmkd.slide.slide import Slide

_DATE = (
    "aperio.Date",
    "hamamatsu.Created",
    "leica.creation-date",
    "mirax.GENERAL.SLIDE_CREATIONDATETIME",
    "dicom.AcquisitionDateTime",
    "philips.DICOM_ACQUISITION_DATETIME",
    "zeiss.Information.Image.AcquisitionDateAndTime",
    "ome.AcquisitionDate",
    "tiff.DateTime",
)
_TILE_STATED = "openslide.level[0].tile-width"  # not where they overlap or lie in several regions
_ASKING_LIMIT_S = 5.0  # the window waits
_MOST_FILES = 50_000  # a store of more is not added up


def describe(slide: Slide) -> dict[str, str]:
    """Name and value of each fact, in the order to show them; what is not known says so."""
    found = slide.properties
    size = slide.size
    return {
        "file": slide.name,
        "folder": str(slide.path.absolute().parent),
        "file size": _file_size(slide),
        "format": slide.vendor or "not named",
        "back end": f"{slide.backend}: {slide.backend_reason}",
        "dimensions": f"{size.height:,} x {size.width:,} px (height x width)",
        "levels": _levels(slide),
        "tiles": _tiles(slide),
        "pixel size": _pixel_size(slide),
        "physical size": _physical_size(slide),
        "objective": _first(found, OBJECTIVE_KEYS, suffix="x"),
        "scan date": _first(found, _DATE),
        "colours": slide.colour,
        "begins at": _origin(slide),
        "warnings": "; ".join(slide.warnings) or "none",
        **live_facts(slide),
    }


def live_facts(slide: Slide) -> dict[str, str]:
    """Those of the facts that change while a slide is open; the file is not asked for them."""
    facts = {"cache": str(slide.reader.cache.statistics)}
    if messages := slide.reader.unreadable:
        facts["drawn as unreadable"] = f"{len(messages)} parts, the last: {messages[-1]}"
    return facts


def _file_size(slide: Slide) -> str:
    path = slide.path
    if is_remote(path):  # what its files add up to is not asked
        return "not known"
    try:
        return slide.in_time(partial(_size_on_disk, slide), _ASKING_LIMIT_S, urgent=True)
    except FileNotFoundError:
        return "gone: it was removed since it was opened"
    except OSError as error:
        return f"not known: {error.strerror}"
    except SlideReadError:
        return "not known: its disk does not answer in time"


def _size_on_disk(slide: Slide) -> str:
    path, beside = Path(str(slide.path)), slide.reader.backend.files_beside
    if beside:
        return f"{_in_bytes(sum(one.stat().st_size for one in (path, *beside)))} in {len(beside) + 1} files with pixels"
    if not path.is_dir():
        return _in_bytes(path.stat().st_size)
    files = islice(
        (Path(at, name) for at, _, names in os.walk(path) for name in names), _MOST_FILES
    )
    sizes = [file.stat().st_size for file in files]
    if len(sizes) == _MOST_FILES:
        return f"a folder of {_MOST_FILES:,} files or more"
    return f"{_in_bytes(sum(sizes))}, a folder of {len(sizes):,} files"


def _in_bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _levels(slide: Slide) -> str:
    factors = ", ".join(f"{level.downsample:.6g}" for level in slide.levels)
    slow = "; the smaller ones are computed when they are drawn, which takes minutes"
    return (
        f"{len(slide.levels)}, of downsample {factors}{slow if lacks_small_levels(slide) else ''}"
    )


def _tiles(slide: Slide) -> str:
    if "openslide.vendor" in slide.properties and _TILE_STATED not in slide.properties:
        return "not known: OpenSlide puts them together"
    tile = slide.levels[0].tile
    return f"{tile.height} x {tile.width} px"


def _pixel_size(slide: Slide) -> str:
    if slide.mpp is None:
        guess = slide.guess_mpp()
        return "not known" + (f"; the objective suggests {guess:.3g} um/px" if guess else "")
    y, x = slide.mpp
    return f"{y:.6g} x {x:.6g} um/px (y x x), from {slide.mpp_source}"


def _physical_size(slide: Slide) -> str:
    if slide.mpp is None:
        return "not known"
    y, x = slide.mpp
    return f"{slide.size.height * y / 1000:.2f} x {slide.size.width * x / 1000:.2f} mm"


def _first(found: Mapping[str, str], names: tuple[str, ...], suffix: str = "") -> str:
    return next((f"{found[name]}{suffix}" for name in names if name in found), "not known")


def _origin(slide: Slide) -> str:
    y, x = slide.origin_px
    if (y, x) == (0, 0):
        return "the file's own origin"
    return f"row {y:,}, column {x:,} of the file, which says that only a part was scanned"
