"""Result folders read back, and drawn as the grading was: without the slide, the model or torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_hmkd.layers import LayerData, grade_layers
from napari_hmkd.overlap import mean_of_tiles, squares_under
from napari_hmkd.result_files import (
    SUMMARY_FILE,
    TABLE_FILE,
    SavedSlide,
    Summary,
    read_result_files,
)


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What a result folder says about its slide.

    Attributes
    ----------
    folder : pathlib.Path
        Where it was read.
    slide_name, model, notice : str
        The slide, the model, and the sentence that goes with every output of the model.
    saved_slide : SavedSlide or None
        What tells the slide from others of its name, where the files state it.
    step_px : tuple of float
        Height and width of a square in level-0 px.
    slide_mpp : tuple of float
        The slide's pixel size (y, x), um/px.
    expected_grade : numpy.ndarray
        Of the squares (see `TileGrid`): float32 (rows, columns), in [0, 3], NaN where not graded.
    unreadable : numpy.ndarray
        Squares without a grade as tiles could not be read: bool (rows, columns).
    """

    folder: Path
    slide_name: str
    model: str
    notice: str
    saved_slide: SavedSlide | None
    step_px: tuple[float, float]
    slide_mpp: tuple[float, float]
    expected_grade: np.ndarray
    unreadable: np.ndarray


def read_results(folder: Path) -> Results:
    """Read the `summary.json` and `tiles.csv` that `write_results` left in a folder.

    Raises
    ------
    OutputError
        If they are unusable, see `read_result_files`.
    """
    files = read_result_files(folder, "show", Summary)
    summary = files.summary
    shape, overlap = (summary.tiles.rows, summary.tiles.columns), summary.tiles.overlap
    of_tiles, not_read = np.full((*shape, 1), np.nan, np.float32), np.zeros(shape, bool)
    of_tiles[tuple(files.tiles.T)] = files.expected_grade[:, None]
    for tile in summary.unreadable_tiles:
        not_read[tile.row, tile.column] = True
    expected_grade = mean_of_tiles(of_tiles, overlap)[..., 0]
    return Results(
        folder=folder,
        slide_name=summary.slide.name,
        model=summary.model.name,
        notice=summary.notice,
        saved_slide=summary.slide.saved,
        step_px=summary.tiles.step_level0_px,
        slide_mpp=summary.slide.mpp,
        expected_grade=expected_grade,
        unreadable=squares_under(not_read, overlap) & np.isnan(expected_grade),
    )


def is_result_folder(folder: Path) -> bool:
    """Whether a folder holds the files that `read_results` reads; not one that cannot be entered."""
    return all(os.path.isfile(folder / name) for name in (SUMMARY_FILE, TABLE_FILE))


def result_layers(results: Results) -> list[LayerData]:
    """The layers that `heatmap_layers` makes of the grading itself.

    Their `metadata["napari_hmkd"]` also has the `slide_name`, its `slide_mpp` then, the `saved_slide`, and
    the `folder`.
    """
    return grade_layers(
        results.expected_grade,
        results.unreadable,
        results.slide_name,
        step_px=results.step_px,
        mpp=results.slide_mpp,
        about={
            "model": results.model,
            "notice": results.notice,
            "slide_name": results.slide_name,
            "slide_mpp": results.slide_mpp,
            "saved_slide": results.saved_slide,
            "folder": results.folder,
        },
    )
