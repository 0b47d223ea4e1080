"""A reader's score, added to a CSV file of scores."""

from __future__ import annotations

import csv
import io
from itertools import zip_longest
from pathlib import Path

from napari_hmkd.cells import cell_told
from napari_hmkd.durable import replaced_file
from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.leftovers import one_at_a_time
from napari_hmkd.output_folder import is_there
from napari_hmkd.study.scores import (
    COLUMNS,
    FINGERPRINT,
    Score,
    case_name,
    read_scores,
)
from napari_hmkd.study.table import Row, read_records, written_as
from napari_hmkd.wording import GRADE_NAMES


def noted_score(path: Path, score: Score) -> Score | None:
    """What the same reader has given the same case in a file, None if nothing or if it is not begun.

    Slides are the same by their fingerprints, or where one is unknown by their names.

    Raises
    ------
    DataError
        If the file is no table for `read_scores`, or tables read the region's or reader's name as empty.
    OutputError
        If it cannot be looked for.
    """
    _check_told(score)
    earlier = read_scores(path).scores if _records(path) else ()
    same = (one for one in earlier if one.reader == score.reader and _same_case(one, score))
    return next(same, None)


def add_score(path: Path, score: Score) -> None:
    """Add a line to a file for `read_scores`, or begin a new one; what else is in it stays.

    A line that was prepared for the score is filled in instead. Programs that note scores in one file
    wait for each other.

    Raises
    ------
    DataError
        If the file is no such table, the reader has scored the case in it, or tables read the region's
        or reader's name as empty; it stays as it is.
    OutputError
        If it cannot be written; it stays as it is.
    """
    _is_there(path)  # a name that no file can have is no lock's either
    with one_at_a_time(path):
        if (one := noted_score(path, score)) is not None:
            raise DataError(
                f"asked to note that {score.reader} gives {case_name(score.case)} a "
                f"{GRADE_NAMES[score.grade]}, but {path} has a {GRADE_NAMES[one.grade]} of that reader "
                "already; a score that was given without the model's result is not changed afterwards"
            )
        _replace(path, _with(_records(path), score))


def _check_told(score: Score) -> None:
    """A table that says NA says nothing: a region of that name would be the whole slide."""
    for what, name in (("region", score.region), ("reader", score.reader)):
        if name and not cell_told(name):
            raise DataError(
                f"asked to note a score with the {what} {name!r}, but tables read that as an empty cell: "
                f"give the {what} another name"
            )


def _replace(path: Path, records: list[list[str]]) -> None:
    text = io.StringIO()
    encoding, separator = written_as(path, COLUMNS) if _is_there(path) else ("utf-8", ",")
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(records)
    try:
        with replaced_file(path) as part:
            part.write_text(text.getvalue(), encoding=encoding, newline="")
            try:
                read_scores(part)  # a name that is written in two ways would make two of one
            except DataError as error:  # names a file that nobody else knows
                said = str(error).replace(str(part), str(path))
                raise DataError(f"asked to note a score in {path}, but then: {said}") from error
    except (OSError, UnicodeEncodeError) as error:
        raise _unusable(path, error) from error


def _with(records: list[list[str]], score: Score) -> list[list[str]]:
    """The records of a file, its header first, and a score among them."""
    cells = {
        "slide": score.slide,
        "region": score.region,
        "reader": score.reader,
        "score": GRADE_NAMES[score.grade],
        FINGERPRINT: score.fingerprint,
    }
    header, *rows = records or [[*COLUMNS]]
    if FINGERPRINT not in map(str.lower, header):
        header = [*header, FINGERPRINT]
    names = [name.lower() for name in header]
    for number, row in enumerate(rows):
        prepared = dict(zip(names, row, strict=False))
        if _awaits(prepared, cells):
            filled = zip_longest(names, row, fillvalue="")
            rows[number] = [cells.get(name, cell) for name, cell in filled]
            break
    else:
        rows.append([cells.get(name, "") for name in names])
    return [header, *rows]


def _awaits(prepared: Row, cells: Row) -> bool:
    """Whether a row is the one of this case and reader, its score left empty."""
    same = all(prepared.get(name, "") == cells[name] for name in ("slide", "region", "reader"))
    known = prepared.get(FINGERPRINT, "") in ("", cells[FINGERPRINT])
    return same and known and not prepared.get("score")


def _records(path: Path) -> list[list[str]]:
    """Those of a file, its header first; none where it is not there or empty."""
    return [one for _, one in read_records(path, COLUMNS)] if _is_there(path) else []


def _same_case(one: Score, other: Score) -> bool:
    if one.fingerprint and other.fingerprint:
        same_slide = one.fingerprint == other.fingerprint
    else:
        same_slide = one.slide == other.slide
    return same_slide and one.region == other.region


def _is_there(path: Path) -> bool:
    try:
        return is_there(path)
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> OutputError:
    return OutputError(f"asked to note a score in {path}, but: {error}; choose another file")
