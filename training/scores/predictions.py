"""What graders said about tiles, and predictions.csv, from which every score can be had again."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.model import ModelCard
from napari_hmkd.training.files import write_csv
from napari_hmkd.training.scores.calibration import probabilities
from napari_hmkd.training.scores.conformal import prediction_sets
from napari_hmkd.training.tiles import GRADES, Tile

_LOGITS, _PROBABILITIES, _SETS = (
    [f"{name}_{grade}" for grade in range(GRADES)] for name in ("logit", "p", "in_set")
)
COLUMNS = (
    *("tile", "patient", "label", "part", "grader", "predicted"),
    *(_PROBABILITIES + _LOGITS + _SETS),
)


@dataclass(frozen=True)
class Predictions:
    """One grader's answers for n tiles; what it does not give is None.

    Attributes
    ----------
    grades : (n,) int
        0 to 3.
    logits : (n, 4) or None
        As the network gives them.
    probabilities : (n, 4) or None
        After temperature scaling.
    sets : (n, 4) bool or None
        Conformal prediction sets.
    """

    grades: NDArray[np.integer]
    logits: NDArray[np.floating] | None = None
    probabilities: NDArray[np.floating] | None = None
    sets: NDArray[np.bool_] | None = None

    @classmethod
    def of_network(cls, logits: NDArray[np.floating], card: ModelCard) -> Predictions:
        """The answers of a network with the temperature and the thresholds of its card."""
        found = probabilities(logits, card.temperature)
        thresholds = card.conformal_thresholds
        sets = prediction_sets(found, thresholds) if thresholds else None
        return cls(logits.argmax(1), logits, found, sets)

    def of(self, rows: NDArray[Any]) -> Predictions:
        """Those of some tiles, by number or mask."""
        logits, found, sets = (
            None if part is None else part[rows]
            for part in (self.logits, self.probabilities, self.sets)
        )
        return Predictions(self.grades[rows], logits, found, sets)


def write_predictions(
    path: Path, tiles: Sequence[Tile], predictions: Mapping[str, Predictions], part: str
) -> None:
    """One line for each grader and tile; logits are uncalibrated, `p` is after temperature scaling.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_csv(path, COLUMNS, _lines(tiles, predictions, part))


def _lines(
    tiles: Sequence[Tile], predictions: Mapping[str, Predictions], part: str
) -> Iterator[tuple[Any, ...]]:
    for grader, found in predictions.items():
        numbers = (
            _texts(found.probabilities, len(tiles), "{:.17g}"),
            _texts(found.logits, len(tiles), "{:.9g}"),
            _texts(found.sets, len(tiles), "{:d}"),
        )
        for row, tile in enumerate(tiles):
            label = "" if tile.grade is None else tile.grade
            about = (tile.name, tile.patient or "", label, part, grader, found.grades[row])
            yield (*about, *(text for block in numbers for text in block[row]))


def _texts(values: NDArray[Any] | None, rows: int, form: str) -> list[list[str]]:
    if values is None:
        return [[""] * GRADES] * rows
    return [[form.format(value) for value in row] for row in values]


def read_predictions(path: Path) -> tuple[list[Tile], dict[str, Predictions]]:
    """The tiles of a predictions.csv, in the order of their names, and each grader's answers.

    Raises
    ------
    DataError
        If the file is missing, cut or no table of predictions; the message names the line.
    """
    rows = _rows(path)
    by_grader: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if by_grader.setdefault(row["grader"], {}).setdefault(row["tile"], row) is not row:
            raise DataError(f"{path}: {row['grader']} has two lines for {row['tile']}")
    names = sorted({row["tile"] for row in rows})
    for grader, found in by_grader.items():
        if missing := len(names) - len(found):
            raise DataError(f"{path} is cut: {missing} tiles have no line for {grader}")
    if not names:
        raise DataError(f"{path} holds no predictions: name a finished run")
    chosen = {grader: [found[name] for name in names] for grader, found in by_grader.items()}
    first = next(iter(chosen.values()))
    tiles = [Tile(r["tile"], r["label"], r["patient"] or None, r["part"]) for r in first]
    return tiles, {grader: _stacked(found) for grader, found in chosen.items()}


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of the file, with their numbers as numbers."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError(f"{path}: line 1 must read {','.join(COLUMNS)}")
            return [_checked(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): name a finished run") from error


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    """A line with its numbers as numbers."""
    try:
        if None in row or None in row.values():
            raise ValueError(f"{len(COLUMNS)} fields are needed")
        row["label"] = int(row["label"]) if row["label"] else None
        row["predicted"] = int(row["predicted"])
        if not {row["label"], row["predicted"]} <= {None, *range(GRADES)}:
            raise ValueError("grades are 0 to 3")
        for names in (_LOGITS, _PROBABILITIES, _SETS):
            values = [float(row[name]) for name in names if row[name]]
            if len(values) not in (0, GRADES) or not np.isfinite(values).all():
                raise ValueError(f"{names[0]} to {names[-1]} must be {GRADES} numbers or none")
            row[names[0]] = values
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    return row


def _stacked(rows: list[dict[str, Any]]) -> Predictions:
    logits, found, sets = (
        np.array([row[names[0]] for row in rows]) if all(row[names[0]] for row in rows) else None
        for names in (_LOGITS, _PROBABILITIES, _SETS)
    )
    grades = np.array([row["predicted"] for row in rows])
    return Predictions(grades, logits, found, None if sets is None else sets.astype(bool))
