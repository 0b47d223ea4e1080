"""Result folders drawn as the grading was: without the slide, the model or torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from napari_hmkd.layers import LayerData, grade_layers
from napari_hmkd.overlap import mean_of_tiles, squares_under
from napari_hmkd.result_files import SUMMARY_FILE, TABLE_FILE, Summary, read_result_files


def is_result_folder(folder: Path) -> bool:
    """Whether a folder holds the files that `result_layers` reads; not one that cannot be entered."""
    return all(os.path.isfile(folder / name) for name in (SUMMARY_FILE, TABLE_FILE))


def result_layers(folder: Path) -> list[LayerData]:
    """The layers that `heatmap_layers` made of the grading that `write_results` left in a folder.

    Their `metadata["napari_hmkd"]` also has the `slide_name`, its `slide_mpp` then, the `folder`, and as
    `saved_slide` what tells the slide from others of its name.

    Raises
    ------
    OutputError
        If they are unusable, see `read_result_files`.
    """
    files = read_result_files(folder, "show", Summary)
    summary = files.summary
    slide, tiles = summary.slide, summary.tiles
    shape = tiles.rows, tiles.columns
    of_tiles, not_read = np.full((*shape, 1), np.nan, np.float32), np.zeros(shape, bool)
    of_tiles[tuple(files.tiles.T)] = files.expected_grade[:, None]
    for tile in summary.unreadable_tiles:
        not_read[tile.row, tile.column] = True
    expected_grade = mean_of_tiles(of_tiles, tiles.overlap)[..., 0]
    return grade_layers(
        expected_grade,
        squares_under(not_read, tiles.overlap) & np.isnan(expected_grade),
        slide.name,
        step_px=tiles.step_level0_px,
        mpp=slide.mpp,
        about={
            "model": summary.model.name,
            "notice": summary.notice,
            "slide_name": slide.name,
            "slide_mpp": slide.mpp,
            "saved_slide": slide,
            "folder": folder,
        },
    )
