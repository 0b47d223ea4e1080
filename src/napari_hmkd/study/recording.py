"""A reader's score, added to a CSV file of scores."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.study.scores import COLUMNS, GRADE_NAMES, Case, Score, case_name, read_scores


def noted_score(path: Path, case: Case, reader: str) -> Score | None:
    """What a reader has given a case in a file, None if nothing or if there is no file.

    Raises
    ------
    DataError
        If the file is no table for `read_scores`.
    """
    same = (one for one in _scores(path) if (one.case, one.reader) == (case, reader))
    return next(same, None)


def add_score(path: Path, score: Score) -> None:
    """Add a line to a file for `read_scores`, or begin a new one.

    Raises
    ------
    DataError
        If the file is no such table, or the reader has scored the case in it; it stays as it is.
    OutputError
        If it cannot be written; it stays as it is.
    """
    earlier = _scores(path)
    if (one := noted_score(path, score.case, score.reader)) is not None:
        raise DataError(
            f"asked to note that {score.reader} gives {case_name(score.case)} a "
            f"{GRADE_NAMES[score.grade]}, but {path} has a {GRADE_NAMES[one.grade]} of that reader "
            "already; a score that was given without the model's result is not changed afterwards"
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        (one.slide, one.region, one.reader, GRADE_NAMES[one.grade]) for one in (*earlier, score)
    )
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text.getvalue(), encoding="utf-8", newline="")
        read_scores(part)  # a name that is written in two ways would make two of one
        os.replace(part, path)
    except OSError as error:
        raise OutputError(
            f"asked to note a score in {path}, but: {error}; choose another file"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _scores(path: Path) -> tuple[Score, ...]:
    return read_scores(path).scores if path.exists() else ()
