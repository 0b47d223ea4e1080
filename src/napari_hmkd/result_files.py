"""`summary.json` and `tiles.csv` of a result folder, read back with every value checked."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from napari_hmkd.errors import OutputError, reason_of

SUMMARY_FILE, TABLE_FILE = "summary.json", "tiles.csv"

Tile = tuple[int, int]
Pair = tuple[PositiveFloat, PositiveFloat]
Overlap = Annotated[int, Field(ge=1, le=4)]
# Probabilities add up to one but for rounding.
MeanGrade = Annotated[float, Field(ge=0, le=3 + 1e-5)]
_Side = Annotated[int, Field(gt=0, le=10_000)]  # no slide has more; a damaged number could
Share = Annotated[float, Field(ge=0, le=1)]
_Grade = Annotated[int, Field(ge=0, le=3)]


class Part(BaseModel):
    """A part of `summary.json`: what is needed of it, each value of its exact type."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class SavedSlide(Part):
    """What tells a slide from others of its name: its fingerprint, and its size in level-0 px."""

    fingerprint: str
    height_px: PositiveInt
    width_px: PositiveInt


class SlideEntry(SavedSlide):
    """The slide, with its file name and pixel size (y, x) in um/px."""

    name: str
    mpp: Pair


class TilesEntry(Part):
    """The `TileGrid`."""

    step_level0_px: Pair
    overlap: Overlap
    rows: _Side
    columns: _Side


class ModelEntry(Part):
    """The model."""

    name: str


class UnreadableTile(Part):
    """A tile that could not be read, and why."""

    row: NonNegativeInt
    column: NonNegativeInt
    reason: str


class Summary(Part):
    """What everybody needs of `summary.json`; who needs more derives from it."""

    notice: str
    graded_tiles: int
    unreadable_tiles: list[UnreadableTile]
    slide: SlideEntry
    tiles: TilesEntry
    model: ModelEntry


AnySummary = TypeVar("AnySummary", bound=Summary)


@dataclass(frozen=True, slots=True, eq=False)
class ResultFiles(Generic[AnySummary]):
    """What both files say.

    Attributes
    ----------
    summary : Summary
        Of the kind that was asked for.
    tiles : numpy.ndarray
        The graded tiles (row, column), in the order of the table: int64 (n, 2).
    probabilities : numpy.ndarray
        Of each grade, in [0, 1]: float64 (n, 4).
    grade : numpy.ndarray
        0 to 3: int64 (n,).
    expected_grade : numpy.ndarray
        In [0, 3] but for rounding: float64 (n,).
    """

    summary: AnySummary
    tiles: np.ndarray
    probabilities: np.ndarray
    grade: np.ndarray
    expected_grade: np.ndarray


class _Row(BaseModel):
    """A line of `tiles.csv`, its columns in their order; a tile without a grade was not readable."""

    model_config = ConfigDict(allow_inf_nan=False)

    row: NonNegativeInt
    column: NonNegativeInt
    y_px: float
    x_px: float
    tissue_fraction: Share
    p_0: Share | None = None
    p_1: Share | None = None
    p_2: Share | None = None
    p_3: Share | None = None
    grade: _Grade | None = None
    expected_grade: MeanGrade | None = None
    notice: str = ""


COLUMNS = tuple(_Row.model_fields)
"""Of `tiles.csv`, in their order."""


def read_result_files(
    folder: Path, asked: str, needed: type[AnySummary]
) -> ResultFiles[AnySummary]:
    """Read what `write_results` left in a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Of one slide's results.
    asked : str
        What for, as messages say it: "show".
    needed : type of Summary
        What of `summary.json` has to be there.

    Raises
    ------
    OutputError
        If one of the files is missing, damaged or cut off, or they do not belong together; the message
        names the file and the line or the key.
    """
    file = folder / SUMMARY_FILE
    try:
        summary = needed.model_validate_json(file.read_bytes())
        file = folder / TABLE_FILE
        rows = _read_table(file, summary)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"asked to {asked} the results in {folder}, but {file.name} cannot be used: {_reason(error)}; "
            f"choose a folder as napari-hmkd wrote it, with {SUMMARY_FILE} and {TABLE_FILE} of one run, or "
            "grade the slide again (napari-hmkd-grade with --fresh)"
        ) from error
    graded = [row for row in rows if row.grade is not None]
    probabilities = [(row.p_0, row.p_1, row.p_2, row.p_3) for row in graded]
    return ResultFiles(
        summary,
        np.array([(row.row, row.column) for row in graded], np.int64).reshape(-1, 2),
        np.array(probabilities, np.float64).reshape(-1, 4),
        np.array([row.grade for row in graded], np.int64),
        np.array([row.expected_grade for row in graded], np.float64),
    )


def _read_table(path: Path, summary: Summary) -> list[_Row]:
    """The lines of all tiles that were tried."""
    failed = {(tile.row, tile.column) for tile in summary.unreadable_tiles}
    found: dict[Tile, _Row] = {}
    # A damaged letter becomes one that no column takes, and so is found in its line.
    text = path.read_bytes().decode("utf-8", errors="replace")
    if not text:
        raise ValueError("it is empty")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_header(next(lines, []))
        for fields in lines:
            row = _row(fields)
            tile = row.row, row.column
            _check_belongs(row, summary, failed)
            if found.setdefault(tile, row) is not row:
                raise ValueError(f"tile {tile} is there a second time")
        if missing := failed - found.keys():
            raise ValueError(f"tile {min(missing)}, not readable in {SUMMARY_FILE}, is not there")
        expected = summary.graded_tiles + len(failed)
        if len(found) != expected:
            raise ValueError(
                f"the table ends with {len(found)} of the {expected} tiles of {SUMMARY_FILE}"
            )
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {lines.line_num}: {_reason(error)}") from error
    return list(found.values())


def _check_header(columns: list[str]) -> None:
    if columns != list(COLUMNS):
        raise ValueError(f"the columns are {', '.join(columns)} instead of {', '.join(COLUMNS)}")


def _row(fields: list[str]) -> _Row:
    if len(fields) != len(COLUMNS):
        raise ValueError(f"there are {len(fields)} fields instead of {len(COLUMNS)}")
    row = _Row.model_validate({n: text for n, text in zip(COLUMNS, fields, strict=True) if text})
    answer = (row.p_0, row.p_1, row.p_2, row.p_3, row.grade, row.expected_grade)
    if None in answer and any(value is not None for value in answer):
        raise ValueError("some of the fields p_0 to expected_grade are empty and some are not")
    return row


def _check_belongs(row: _Row, summary: Summary, failed: set[Tile]) -> None:
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
    return reason_of(error)
