"""From the DATA of a command line to a source of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.training.bci import PARTS, BciFolder
from napari_hmkd.training.config import CohortSettings, Labels
from napari_hmkd.training.procedural import ProceduralSource
from napari_hmkd.training.tiles import TileSource

PROCEDURAL = "procedural"


def resolve_labels(data: str, labels: Labels | None) -> Labels:
    """The labels asked for; left open, the tile's truth where it is known, else the slide's grade.

    Raises
    ------
    DataError
        If the tile's truth is asked of data that does not know it.
    """
    if data == PROCEDURAL:
        return labels or Labels.TILE
    if labels is Labels.TILE:
        raise DataError("--labels tile needs procedural data: BCI's grade is the whole slide's")
    return Labels.SLIDE


def open_source(
    data: str, cohort: CohortSettings, labels: Labels | None, parts: Sequence[str] = PARTS
) -> TileSource:
    """The tiles that DATA names: a folder in BCI's layout, or the word `procedural`.

    Raises
    ------
    DataError
        If there is no such folder, or its tiles cannot be used.
    """
    resolved = resolve_labels(data, labels)
    if data == PROCEDURAL:
        return ProceduralSource(cohort, resolved)
    folder = Path(data)
    if not folder.is_dir():
        raise DataError(f"{data} is no folder: name one in BCI's layout, or the word {PROCEDURAL}")
    return BciFolder(folder, parts)
