"""Result folders read back, and drawn as the grading was: without the slide, the model or torch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, ValidationError

from napari_hmkd.errors import OutputError
from napari_hmkd.layers import LayerData, grade_layers

SUMMARY_FILE, TABLE_FILE = "summary.json", "tiles.csv"

_Tile = tuple[int, int]
_Pair = tuple[PositiveFloat, PositiveFloat]
_Side = Annotated[int, Field(gt=0, le=10_000)]  # no slide has more; a damaged number could
_Share = Annotated[float, Field(ge=0, le=1)]
_Grade = Annotated[int, Field(ge=0, le=3)]
_MeanGrade = Annotated[float, Field(ge=0, le=3)]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What a result folder says about its slide.

    Attributes
    ----------
    folder : pathlib.Path
        Where it was read.
    slide_name, model, notice : str
        The slide, the model, and the sentence that goes with every output of the model.
    step_px : tuple of float
        Height and width of a tile in level-0 px.
    slide_mpp : tuple of float
        The slide's pixel size (y, x), um/px.
    expected_grade : numpy.ndarray
        float32 (rows, columns), in [0, 3], NaN where not graded.
    failed : dict
        From (row, column) of a tile that could not be read to the reason.
    """

    folder: Path
    slide_name: str
    model: str
    notice: str
    step_px: tuple[float, float]
    slide_mpp: tuple[float, float]
    expected_grade: np.ndarray
    failed: dict[_Tile, str]


def read_results(folder: Path) -> Results:
    """Read the `summary.json` and `tiles.csv` that `write_results` left in a folder.

    Raises
    ------
    OutputError
        If one of them is missing, damaged or cut off, or they do not belong together; the message
        names the file and the line or the key.
    """
    summary = _read_summary(folder / SUMMARY_FILE)
    failed = {(tile.row, tile.column): tile.reason for tile in summary.unreadable_tiles}
    return Results(
        folder=folder,
        slide_name=summary.slide.name,
        model=summary.model.name,
        notice=summary.notice,
        step_px=summary.tiles.step_level0_px,
        slide_mpp=summary.slide.mpp,
        expected_grade=_read_table(folder / TABLE_FILE, summary, failed),
        failed=failed,
    )


def is_result_folder(folder: Path) -> bool:
    """Whether a folder holds the files that `read_results` reads."""
    return all((folder / name).is_file() for name in (SUMMARY_FILE, TABLE_FILE))


def result_layers(results: Results) -> list[LayerData]:
    """The layers that `heatmap_layers` makes of the grading itself.

    Their `metadata["napari_hmkd"]` also has the `slide_name` and the `folder`.
    """
    return grade_layers(
        results.expected_grade,
        results.failed,
        results.slide_name,
        step_px=results.step_px,
        mpp=results.slide_mpp,
        about={
            "model": results.model,
            "notice": results.notice,
            "slide_name": results.slide_name,
            "folder": results.folder,
        },
    )


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Slide(_Part):
    name: str
    mpp: _Pair


class _Tiles(_Part):
    step_level0_px: _Pair
    rows: _Side
    columns: _Side


class _Model(_Part):
    name: str


class _Unreadable(_Part):
    row: int
    column: int
    reason: str


class _Summary(_Part):
    """What is needed of `summary.json`."""

    notice: str
    graded_tiles: int
    unreadable_tiles: list[_Unreadable]
    slide: _Slide
    tiles: _Tiles
    model: _Model


class _Row(BaseModel):
    """A line of `tiles.csv`, its columns in their order; a tile without a grade was not readable."""

    model_config = ConfigDict(allow_inf_nan=False)

    row: NonNegativeInt
    column: NonNegativeInt
    y_px: float
    x_px: float
    tissue_fraction: _Share
    p_0: _Share | None = None
    p_1: _Share | None = None
    p_2: _Share | None = None
    p_3: _Share | None = None
    grade: _Grade | None = None
    expected_grade: _MeanGrade | None = None
    notice: str = ""


def _read_summary(path: Path) -> _Summary:
    try:
        return _Summary.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(path, _reason(error)) from error


def _read_table(path: Path, summary: _Summary, failed: dict[_Tile, str]) -> np.ndarray:
    """The expected grades: float32 (rows, columns), NaN where there is none."""
    canvas = np.full((summary.tiles.rows, summary.tiles.columns), np.nan, dtype=np.float32)
    tried: set[_Tile] = set()
    try:
        # A damaged letter becomes one that no column takes, and so is found in its line.
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise _unusable(path, _reason(error)) from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_header(next(lines, []))
        for fields in lines:
            row = _row(fields)
            tile = row.row, row.column
            _check_belongs(row, summary, failed)
            if tile in tried:
                raise ValueError(f"tile {tile} is there a second time")
            tried.add(tile)
            canvas[tile] = np.nan if row.expected_grade is None else row.expected_grade
        expected = summary.graded_tiles + len(failed)
        if len(tried) != expected:
            raise ValueError(
                f"the table ends with {len(tried)} of the {expected} tiles of {SUMMARY_FILE}"
            )
    except (ValueError, csv.Error) as error:
        raise _unusable(path, f"line {lines.line_num}: {_reason(error)}") from error
    return canvas


def _check_header(columns: list[str]) -> None:
    wanted = list(_Row.model_fields)
    if columns != wanted:
        raise ValueError(f"the columns are {', '.join(columns)} instead of {', '.join(wanted)}")


def _row(fields: list[str]) -> _Row:
    names = list(_Row.model_fields)
    if len(fields) != len(names):
        raise ValueError(f"there are {len(fields)} fields instead of {len(names)}")
    row = _Row.model_validate({n: text for n, text in zip(names, fields, strict=True) if text})
    answer = (row.p_0, row.p_1, row.p_2, row.p_3, row.grade, row.expected_grade)
    if None in answer and any(value is not None for value in answer):
        raise ValueError("some of the fields p_0 to expected_grade are empty and some are not")
    return row


def _check_belongs(row: _Row, summary: _Summary, failed: dict[_Tile, str]) -> None:
    tile, shape = (row.row, row.column), (summary.tiles.rows, summary.tiles.columns)
    if tile[0] >= shape[0] or tile[1] >= shape[1]:
        raise ValueError(f"tile {tile} lies outside the {shape[0]} x {shape[1]} tiles of the slide")
    if (row.grade is None) != (tile in failed):
        raise ValueError(f"whether tile {tile} could be read, {SUMMARY_FILE} says otherwise")
    if row.notice != summary.notice:
        raise ValueError(f"the notice is not that of {SUMMARY_FILE}")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _unusable(path: Path, reason: str) -> OutputError:
    return OutputError(
        f"asked to show the results in {path.parent}, but {path.name} cannot be used: {reason}; choose a "
        f"folder as napari-hmkd wrote it, with {SUMMARY_FILE} and {TABLE_FILE} of one run, or grade the "
        "slide again"
    )
