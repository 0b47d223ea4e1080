"""Label tables: one class of a target for each case, with its patient and slides where they are told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from napari_hmkd.errors import DataError
from napari_hmkd.genes.matching import patient_of
from napari_hmkd.genes.names import listed, require_unique
from napari_hmkd.genes.tables import place, read_table
from napari_hmkd.patients import patient_told, written_twice

CASE, PATIENT, SLIDE = "case", "patient", "slide"
BETWEEN_SLIDES = ";"
MOST_CLASSES = 10


@dataclass(frozen=True)
class LabelledCase:
    """What a label table says of a case.

    Attributes
    ----------
    name, patient : str
    slides : tuple of str
        Empty where the table does not tell.
    value : str
        As written; "" where there is none.
    label : int or None
        Place among the classes; None without a value, or with one that is no class.
    """

    name: str
    patient: str
    slides: tuple[str, ...]
    value: str
    label: int | None


@dataclass(frozen=True)
class LabelTable:
    """The cases of a label table, those without a label among them.

    Attributes
    ----------
    target : str
    classes : tuple of str
        In order.
    ordinal : bool
        Whether there are more than two and their order means something.
    cases : tuple of LabelledCase
    """

    target: str
    classes: tuple[str, ...]
    ordinal: bool
    cases: tuple[LabelledCase, ...]


def read_labels(path: Path, target: str, classes: Sequence[str] = ()) -> LabelTable:
    """Read the column of a target from a table of cases.

    The table has the column `case` and one for each target; `patient` and `slide` may be there. A
    case without a patient is a patient of its own, except that TCGA barcodes begin with theirs.
    Slides stand in one cell with ";" between them, or in several rows of a case, which must agree.
    Only an empty cell or a spelling of NA is no label; every other text is a class.

    Parameters
    ----------
    path : Path
        CSV, TSV or Parquet, plain or gzip.
    target : str
        A column, such as HER2.
    classes : sequence of str, optional
        The classes in order; cases of other values are then without a label. Left out, all values
        that occur: numbers by value, texts by the alphabet and without an order.

    Raises
    ------
    DataError
        If the table cannot be read or lacks a column, rows of a case do not agree, a patient's
        name is written in two ways, or there are fewer than two classes or more than `MOST_CLASSES`.
    """
    frame = _table(path, target)
    values = frame[target]
    if numeric := all(map(_is_number, values[values != ""])):
        # Integers become floats beside empty cells: 1 and 1.0 are one class.
        values = values.map(_plain)
        classes = list(map(_plain, classes))
    found = sorted(set(values) - {""}, key=float if numeric else str)
    ordered = tuple(classes or found)
    _require_classes(path, target, ordered, found)
    number = {name: label for label, name in enumerate(ordered)}
    frame[target] = values
    merged = _merged(path, frame, target)
    cases = tuple(
        LabelledCase(name, patient, slides, value, number.get(value))
        for name, patient, slides, value in merged
    )
    return LabelTable(target, ordered, len(ordered) > 2 and bool(numeric or classes), cases)


def read_slides(path: Path) -> dict[str, tuple[str, ...]]:
    """Read which slides a table lists for each case; a label table will do.

    Parameters
    ----------
    path : Path
        As of `read_labels`; of its columns `case` and `slide` count.

    Returns
    -------
    dict of str to tuple of str
        By case, in the table's order; empty where it does not tell.

    Raises
    ------
    DataError
        If the table cannot be read, lacks the column `case`, or has several rows of a case and no
        column `slide`.
    """
    return {name: slides for name, _, slides in _cases(path, _table(path))}


def _table(path: Path, target: str | None = None) -> pd.DataFrame:
    """Columns in texts; those of cases, patients and slides in small letters."""
    if target is not None and target.lower() in (CASE, PATIENT, SLIDE):
        raise DataError(f"{path}: the column {target} is no target: name one of the others")
    frame = read_table(path, text=list, columns=(CASE, PATIENT, SLIDE))
    plain = {name: name.lower() for name in frame.columns if name != target}
    frame = frame.rename(columns={k: v for k, v in plain.items() if v in (CASE, PATIENT, SLIDE)})
    for name in (CASE, target):
        if name is not None and name not in frame.columns:
            raise DataError(
                f"{path} has no column {name}; its columns are {', '.join(frame.columns)}. A label "
                f"table has the column {CASE} and one for each target"
            )
    require_unique(frame.columns, "columns", path)
    for row in frame.index[frame[CASE] == ""]:
        raise DataError(f"{place(path, row)}: the cell {CASE} is empty")
    return frame


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _plain(text: str) -> str:
    """A number without an ending .0, and any other text as it is."""
    return f"{float(text):.15g}" if _is_number(text) else text


def _require_classes(path: Path, target: str, classes: Sequence[str], found: Sequence[str]) -> None:
    said = f"{path}, target {target}"
    if not found:
        raise DataError(f"{said}: no case has a label. Look whether it is the right column")
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"{said}: {len(classes)} classes, of which {MOST_CLASSES} are the most: {listed(classes)}. "
            "It is probably a continuous column: cut it into classes in the table first"
        )
    require_unique(classes, "classes", said)
    if absent := [name for name in classes if name not in found]:
        raise DataError(
            f"{said}: no case is {listed(absent)}; the values are {listed(found)}. Give the classes "
            "as the table spells them"
        )
    if len(classes) < 2:
        raise DataError(
            f"{said}: {classes[0]} is the only class, and a network needs two to tell apart"
        )


def _merged(
    path: Path, frame: pd.DataFrame, target: str
) -> list[tuple[str, str, tuple[str, ...], str]]:
    """(case, patient, slides, value) of each case, from all its rows, in the table's order."""
    found = []
    for name, rows, slides in _cases(path, frame):
        value = _agreed(path, rows, target)
        patient = patient_told(_agreed(path, rows, PATIENT)) if PATIENT in frame.columns else ""
        found.append((name, patient or patient_of(name), slides, value))
    if twice := written_twice(patient for _, patient, _, _ in found):
        raise DataError(f"{path}: {twice[0]}")
    return found


def _cases(path: Path, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, tuple[str, ...]]]:
    """Name, rows and slides of each case, in the table's order."""
    by_rows = SLIDE in frame.columns
    for name, rows in frame.groupby(CASE, sort=False):
        if len(rows) > 1 and not by_rows:
            raise DataError(
                f"{place(path, rows.index[1])}: the case {name} has a row already: "
                f"only a table with the column {SLIDE} may have several"
            )
        yield name, rows, _slides(rows[SLIDE]) if by_rows else ()


def _agreed(path: Path, rows: pd.DataFrame, column: str) -> str:
    """What the rows of a case say in a column."""
    values = rows[column]
    for row in rows.index[values != values.iloc[0]]:
        raise DataError(
            f"{place(path, row)}: {column} of the case {rows.at[row, CASE]} is {values[row]!r}, but "
            f"{values.iloc[0]!r} in an earlier row: rows of one case must agree"
        )
    return str(values.iloc[0])


def _slides(cells: Iterable[str]) -> tuple[str, ...]:
    names = (name.strip() for cell in cells for name in cell.split(BETWEEN_SLIDES))
    return tuple(dict.fromkeys(name for name in names if name))
