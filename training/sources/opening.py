"""From the DATA of a command line to a source of tiles."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import CohortSettings, DataSettings, Labels
from napari_hmkd.training.sources.bci import BCI
from napari_hmkd.training.sources.manifest import scan_manifest
from napari_hmkd.training.sources.mist import MIST
from napari_hmkd.training.sources.pairs import PairSource, Scan
from napari_hmkd.training.sources.procedural import PROCEDURAL_MPP, ProceduralSource
from napari_hmkd.training.tiles import RecordedSource, Tile

PROCEDURAL = "procedural"
AS_GIVEN = "as the manifest gives them"
EXPECTED = (
    "expected a folder with HE and IHC in it (BCI's layout), one with trainA and trainB (MIST's), "
    f"a CSV manifest, or the word {PROCEDURAL}"
)


def resolve_labels(data: str, labels: Labels | None) -> Labels | None:
    """The labels asked for; left open, the tile's truth where it is known, in folders the slide's.

    Only who wrote a manifest knows what its grades are: `labels` is taken at its word there, and
    None says that nobody has told.

    Raises
    ------
    DataError
        If the tile's truth is asked of data that does not know it.
    """
    if data == PROCEDURAL:
        return labels or Labels.TILE
    if os.path.isfile(data):  # pathlib raises where it may not look
        return labels
    if labels is Labels.TILE:
        raise DataError(
            "--labels tile needs procedural data or a manifest: BCI's grade is the whole slide's"
        )
    return Labels.SLIDE


def kind_of_labels(labels: Labels | None, tiles: Iterable[Tile]) -> str:
    """What resolved labels are called: "tile", "slide", `AS_GIVEN`, or "none" where no tile has one."""
    return (labels or AS_GIVEN) if any(tile.grade is not None for tile in tiles) else "none"


def scan_data(data: str) -> Scan:
    """The pairs of a folder or manifest, and their problems, before any image is read.

    Raises
    ------
    DataError
        If DATA is no such thing, or holds no pairs at all.
    """
    try:
        return _scan(Path(data))
    except OSError as error:
        raise DataError(
            f"{data} cannot be looked into: {error}. Name another, or ask for permission to read it"
        ) from error


def _scan(path: Path) -> Scan:
    if path.is_file():
        return scan_manifest(path)
    if not path.is_dir():
        raise DataError(f"{path} is no folder and no file: {EXPECTED}")
    for layout in (BCI, MIST):
        if layout.fits(path):
            return layout.scan(path)
    names = sorted(item.name for item in path.iterdir() if item.is_dir())
    shown = ", ".join(names[:10]) or "none"
    raise DataError(f"the folders in {path} are {shown}: {EXPECTED}")


def pixel_size(scan: Scan, stated: float | None) -> float | None:
    """The pixel size that was stated, else the layout's, in um/px; None where neither tells.

    Raises
    ------
    DataError
        If the stated one is no size.
    """
    if stated is not None and not (math.isfinite(stated) and stated > 0):
        raise DataError(f"--mpp must be a number of um/px above 0, got {stated:g}")
    return scan.mpp if stated is None else stated


def open_source(data: str, cohort: CohortSettings, pixels: DataSettings) -> RecordedSource:
    """The tiles that DATA names.

    Parameters
    ----------
    data : str
        A folder in BCI's or MIST's layout, a CSV manifest, or the word `procedural`.
    cohort, pixels : CohortSettings, DataSettings
        The procedural cohort, the pixel size and what the labels are.

    Raises
    ------
    DataError
        If there is no such data, its pixel size is unknown, or its tiles cannot be used.
    """
    labels = resolve_labels(data, pixels.labels)
    if data == PROCEDURAL:
        assert labels is not None
        return ProceduralSource(
            cohort, labels, PROCEDURAL_MPP if pixels.mpp is None else pixels.mpp
        )
    scan = scan_data(data)
    mpp = pixel_size(scan, pixels.mpp)
    if mpp is None:
        raise DataError(
            f"{data} does not tell its pixel size: state it in um/px, e.g. --mpp 0.46 for 20x scans "
            "such as BCI's"
        )
    return PairSource(scan, mpp, kind_of_labels(labels, [pair.tile for pair in scan.pairs]))
