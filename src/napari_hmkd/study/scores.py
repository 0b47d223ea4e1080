"""Pathologists' scores, read from a CSV file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from napari_hmkd.cells import cell_told
from napari_hmkd.errors import DataError
from napari_hmkd.patients import patient_told
from napari_hmkd.study.identity import NamedSlide, identified
from napari_hmkd.study.names import slide_names
from napari_hmkd.study.table import Row, read_rows
from napari_hmkd.wording import GRADE_NAMES, WRITTEN_GRADES, same_name, same_words

COLUMNS = ("slide", "region", "reader", "score")
FINGERPRINT, PATIENT = "fingerprint", "patient"
GRADES = len(GRADE_NAMES)
WHOLE_SLIDE = ""
Case = tuple[str, str]
"""A slide and a region of it, `WHOLE_SLIDE` for all of it."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_Seen = dict[tuple[str, str], tuple[int, str]]  # of a column and a name: its line and spelling


@dataclass(frozen=True, slots=True)
class Score:
    """One reader's score of one case.

    Attributes
    ----------
    slide, region, reader : str
        As the table names them (`identified`); `region` is "" for the whole slide.
    grade : int
        0 to 3, for 0, 1+, 2+, 3+.
    fingerprint : str
        The slide's (`slide.fingerprint`), "" where it is not known.
    patient : str
        Whose the slide is, "" where the table does not say it.
    """

    slide: str
    region: str
    reader: str
    grade: int
    fingerprint: str = ""
    patient: str = ""

    @property
    def case(self) -> Case:
        """What was scored."""
        return self.slide, self.region


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All scores of a file, and how many of its rows have none."""

    scores: tuple[Score, ...]
    not_scored: int

    @property
    def slides_without_patient(self) -> tuple[str, ...]:
        """Slides whose patient is not told, in a table that tells any."""
        told = any(score.patient for score in self.scores)
        return tuple(sorted({one.slide for one in self.scores if told and not one.patient}))


def read_scores(path: Path) -> ScoreTable:
    """Scores from a CSV file with the columns `slide, region, reader, score`; see `read_rows`.

    A score is 0, 1+, 2+, 3+ or 0 to 3; a row without one is counted and skipped. A row without a
    region is about the whole slide. Score, region and fingerprint that say NA count as empty (`cell_told`).
    A column `fingerprint` tells files of one name apart and knows one again that was renamed. A column
    `patient` tells which slides are of one patient; one of a slide's scores may tell it for all.

    Raises
    ------
    DataError
        If the file is no such table; if a score is none of these; if a slide or reader is empty or NA;
        if a reader scores a case twice; if a name is written in two ways, which would make two of one;
        if a name without a fingerprint may be that of several files; if a slide is of two patients. The
        message names file and line.
    """
    rows: list[tuple[int, Score]] = []
    seen: _Seen = {}
    untold: dict[int, str] = {}
    not_scored = 0
    for line, row in read_rows(path, COLUMNS, (FINGERPRINT, PATIENT)):
        where = f"{path} line {line}"
        row[PATIENT] = patient_told(row[PATIENT])
        if row["region"] and not cell_told(row["region"]):
            untold[line] = row["region"]
        row |= {name: cell_told(row[name]) for name in ("region", "score", FINGERPRINT)}
        _check_names(row, line, where, seen)
        if not row["score"]:
            not_scored += 1
            continue
        grade, fingerprint = _grade(row["score"], where), _fingerprint(row[FINGERPRINT], where)
        names = row["slide"], row["region"], row["reader"]
        rows.append((line, Score(*names, grade, fingerprint, row[PATIENT])))
    _check_suffixes(path, seen)
    rows = _of_known_patients(path, _of_identified_slides(path, rows))
    _check_repetitions(path, rows, untold)
    return ScoreTable(tuple(score for _, score in rows), not_scored)


def case_name(case: Case) -> str:
    """What messages call a case."""
    slide, region = case
    return f"{slide}, {region}" if region else slide


def _grade(text: str, where: str) -> int:
    if text not in WRITTEN_GRADES:
        raise DataError(
            f"{where}: the score {text!r} is none of {', '.join(GRADE_NAMES)}, 0 to 3, or empty: "
            "write one of these"
        )
    return WRITTEN_GRADES[text]


def _fingerprint(text: str, where: str) -> str:
    if text and not _SHA256.fullmatch(text):
        raise DataError(
            f"{where}: the fingerprint {text!r} is not one of 64 digits and letters a to f: copy it from "
            "summary.json, or leave the cell empty"
        )
    return text


def _of_identified_slides(path: Path, rows: list[tuple[int, Score]]) -> list[tuple[int, Score]]:
    slides = identified(
        path, [(line, NamedSlide(score.slide, score.fingerprint)) for line, score in rows]
    )
    return [
        (line, replace(score, slide=slide.name, fingerprint=slide.fingerprint))
        for (line, score), slide in zip(rows, slides, strict=True)
    ]


def _of_known_patients(path: Path, rows: list[tuple[int, Score]]) -> list[tuple[int, Score]]:
    """Each score with its slide's patient, whichever row names it."""
    named: dict[str, tuple[int, str]] = {}
    for line, score in rows:
        if not score.patient:
            continue
        first_line, first = named.setdefault(score.slide, (line, score.patient))
        if first != score.patient:
            raise DataError(
                f"{path} line {line}: the slide {score.slide!r} is of the patient {score.patient!r}, but of "
                f"{first!r} in line {first_line}: keep one of the two"
            )
    return [
        (line, replace(score, patient=named.get(score.slide, (0, ""))[1])) for line, score in rows
    ]


def _check_repetitions(path: Path, rows: list[tuple[int, Score]], untold: dict[int, str]) -> None:
    """No reader scores a case twice; `untold` are the regions, by line, that were read as empty."""
    scored: dict[tuple[Case, str], tuple[int, Score]] = {}
    for line, score in rows:
        first_line, first = scored.setdefault((score.case, score.reader), (line, score))
        if first is not score:
            emptied = "".join(
                f"; the region {untold[at]!r} of line {at} is read as empty, the whole slide"
                for at in (first_line, line)
                if at in untold
            )
            raise DataError(
                f"{path} line {line}: {score.reader} gives {case_name(score.case)} a "
                f"{GRADE_NAMES[score.grade]}, but gave it a {GRADE_NAMES[first.grade]} in line "
                f"{first_line}: keep one of the two lines{emptied}"
            )


def _check_names(row: Row, line: int, where: str, seen: _Seen) -> None:
    """No slide or reader is missing, and each name is written as in the lines before."""
    for column in ("slide", "region", "reader", PATIENT):
        name = row[column]
        if column in ("slide", "reader") and not cell_told(name):
            empty = (
                f"{column} {name!r} is read as an empty cell" if name else f"cell {column} is empty"
            )
            raise DataError(f"{where}: the {empty}: fill it in, or remove the line")
        same = same_name if column == "slide" else same_words  # files may differ in a space alone
        first_line, first = seen.setdefault((column, same(name)), (line, name))
        if first != name:
            raise DataError(
                f"{where}: the {column} {name!r} is written {first!r} in line {first_line}: write it "
                "the same way everywhere"
            )


def _check_suffixes(path: Path, seen: _Seen) -> None:
    """No slide is there both with its suffix and without."""
    for line, name in [found for (column, _), found in seen.items() if column == "slide"]:
        for shorter in slide_names(name)[1:]:
            if other := seen.get(("slide", shorter)):
                raise DataError(
                    f"{path} line {line}: the slide {name!r} may be {other[1]!r} of line {other[0]}: "
                    "write every slide with its suffix, or none"
                )
