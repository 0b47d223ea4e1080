"""A model's value of a slide, from the table of its tiles."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_hmkd.errors import DataError
from napari_hmkd.study.scores import GRADES

HIGHEST = GRADES - 1 + 1e-5  # probabilities add up to one but for rounding


@dataclass(frozen=True, slots=True)
class ModelValue:
    """What a model says about a slide or a region, by area of tiles: no ASCO/CAP score.

    Attributes
    ----------
    expected_grade : float
        Mean expected grade of the tiles, weighted by their tissue, in [0, 3].
    grade_of_most_area : int or None
        The grade that most of the tissue has, 0 to 3; None where two have the same area.
    """

    expected_grade: float
    grade_of_most_area: int | None


def whole_slide_value(path: Path, graded_tiles: int) -> ModelValue | None:
    """The value over the graded tiles of a `tiles.csv`, or None where no tile is graded.

    A tile counts with its tissue; what lies beyond the slide's edge is none.

    Raises
    ------
    DataError
        If the file is missing, no table of tiles, or does not hold so many graded tiles.
    """
    tissue, grade, expected = _graded_tiles(path)
    if len(tissue) != graded_tiles:
        raise DataError(
            f"{path} holds {len(tissue)} graded tiles, but the summary beside it says {graded_tiles}: "
            "grade the slide again"
        )
    if not graded_tiles:
        return None
    area = np.bincount(grade, tissue, GRADES)
    most = np.flatnonzero(np.isclose(area, area.max(), rtol=1e-9)).tolist()
    mean = float(np.average(expected, weights=tissue))
    return ModelValue(mean, most[0] if len(most) == 1 else None)


def _graded_tiles(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tissue fraction (n,) float64, grade (n,) int64, expected grade (n,) float64."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                (float(row["tissue_fraction"]), int(row["grade"]), float(row["expected_grade"]))
                for row in csv.DictReader(file, strict=True)
                if row["grade"] != ""  # an unreadable tile
            ]
        tissue, grade, expected = np.array(rows).reshape(-1, 3).T
        if not (_within(tissue, 1) and tissue.all()):
            raise ValueError("a tissue fraction is not above 0 and at most 1")
        if not (_within(grade, GRADES - 1) and _within(expected, HIGHEST)):
            raise ValueError(f"a grade is not between 0 and {GRADES - 1}")
    # A row that was cut off has None in its last cells: a TypeError.
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no table of tiles ({type(error).__name__}: {error}): grade the slide again"
        ) from error
    return tissue, grade.astype(np.int64), expected


def _within(values: np.ndarray, top: float) -> bool:
    return bool(((values >= 0) & (values <= top)).all())
