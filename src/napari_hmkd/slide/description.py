"""What a slide is, in words: the facts that `napari-hmkd-grade info` and the panel show.

Label and macro images, and header fields that can name a patient, are never among them.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from upath import UPath

from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.pyramid import lacks_small_levels
from napari_hmkd.slide.slide import Slide

_OBJECTIVE = ("openslide.objective-power", "aperio.AppMag", "ome.NominalMagnification")
_DATE = (
    "aperio.Date",
    "hamamatsu.Created",
    "leica.creation-date",
    "dicom.AcquisitionDateTime",
    "ome.AcquisitionDate",
    "tiff.DateTime",
)


def describe(slide: Slide) -> dict[str, str]:
    """Name and value of each fact, in the order to show them; what is not known says so."""
    found = slide.properties
    size, tile = slide.size, slide.levels[0].tile
    return {
        "file": slide.name,
        "folder": str(slide.path.absolute().parent),
        "file size": _file_size(slide.path),
        "format": slide.vendor or "not named",
        "back end": f"{slide.backend}: {slide.backend_reason}",
        "dimensions": f"{size.height:,} x {size.width:,} px (height x width)",
        "levels": _levels(slide),
        "tiles": f"{tile.height} x {tile.width} px",
        "pixel size": _pixel_size(slide),
        "physical size": _physical_size(slide),
        "objective": _first(found, _OBJECTIVE, suffix="x"),
        "scan date": _first(found, _DATE),
        "colours": slide.colour,
        "begins at": _origin(slide),
        **live_facts(slide),
    }


def live_facts(slide: Slide) -> dict[str, str]:
    """Those of the facts that change while a slide is open; the file is not asked for them."""
    facts = {"cache": str(slide.reader.cache.statistics)}
    if messages := slide.reader.unreadable:
        facts["drawn as unreadable"] = f"{len(messages)} parts, the last: {messages[-1]}"
    return facts


def _file_size(path: Path | UPath) -> str:
    if is_remote(path):  # what its files add up to is not asked
        return "not known"
    try:
        found = path.stat()
    except FileNotFoundError:
        return "gone: it was removed since it was opened"
    except OSError as error:
        return f"not known: {error.strerror}"
    if stat.S_ISDIR(found.st_mode):
        return "a folder"
    count = float(found.st_size)
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _levels(slide: Slide) -> str:
    factors = ", ".join(f"{level.downsample:.6g}" for level in slide.levels)
    slow = "; the smaller ones are computed when they are drawn, which takes minutes"
    return (
        f"{len(slide.levels)}, of downsample {factors}{slow if lacks_small_levels(slide) else ''}"
    )


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
