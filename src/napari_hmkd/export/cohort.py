"""`cohort.csv` and `cohort.html`: what became of many slides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from napari_hmkd.durable import replaced_file
from napari_hmkd.errors import OutputError
from napari_hmkd.export.earlier_rows import Lines, TableKind, slide_name
from napari_hmkd.export.pages import render
from napari_hmkd.export.provenance import FIELDS
from napari_hmkd.export.summary import read_summary
from napari_hmkd.output_folder import csv_text
from napari_hmkd.palette import GRADE_COLOURS
from napari_hmkd.wording import GRADE_NAMES, NO_SCORE, RESEARCH_ONLY, path_replaced, printable

TABLE_FILE, PAGE_FILE = "cohort.csv", "cohort.html"
_VALUES = (
    "graded_tiles",
    "undecided_tiles",
    "graded_tissue_mm2",
    "expected_grade",
    "grade_of_most_area",
    "seconds",
    "notice",
)
_TUMOUR = {
    "grade_of_marked_tumour_by_area": "grade",
    "reason_of_that_grade": "reason",
}
"""Names in the table of what a summary's `slide_grade` says."""


def cohort_row(slide: str, status: str, message: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """A slide's row; what a failed one lacks is None.

    Parameters
    ----------
    slide : str
        Its path or address.
    status, message : str
        What became of it, and why.
    summary : mapping
        As `summarise` gives it; empty for a failed slide.
    """
    grades = summary.get("grades", {})
    return {
        "slide": printable(slide),
        "status": status,
        "message": printable(message),
        **{name: summary.get(name) for name in _VALUES},
        "unreadable_tiles": len(summary["unreadable_tiles"]) if summary else None,
        **{f"area_mm2_{k}": one["area_mm2"] for k, one in enumerate(grades.values())},
        **{f"share_{k}": one["share"] for k, one in enumerate(grades.values())},
        **{name: summary.get("slide_grade", {}).get(key) for name, key in _TUMOUR.items()},
        "warnings": "; ".join(summary.get("warnings", [])),
        "use": RESEARCH_ONLY,
        "meaning": NO_SCORE,
        "provenance": _provenance(summary) if summary else None,
    }


def _provenance(summary: Mapping[str, Any]) -> str:
    """`provenance` out of a summary, as JSON text."""
    found = {name: summary[name] for name in FIELDS}
    found["slide"] = {name: said for name, said in found["slide"].items() if name != "path"}
    return json.dumps(found, ensure_ascii=False)


def write_cohort(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write both files into the folder that holds the slides' folders, in place of older ones.

    Raises
    ------
    OutputError
        If they cannot be written; older ones stay.
    """
    write_beside(out, {TABLE_FILE: table_text(rows), PAGE_FILE: _page(rows)})


def _earlier(lines: Lines, name: str, out: Path) -> list[dict[str, Any]]:
    slide, status, message = (lines[-1][column] for column in ("slide", "status", "message"))
    if status == "failed":
        return [cohort_row(slide, status, message, {})]
    summary = read_summary(out / name)
    if summary is None:
        return []
    row = cohort_row(slide, status, message, summary)
    float(row["graded_tissue_mm2"])  # the page shows it of every slide
    return [row]


COHORT = TableKind(TABLE_FILE, "status", _earlier, write_cohort)


def write_beside(out: Path, files: Mapping[str, str]) -> None:
    """Write UTF-8 texts beside the slides' folders, each file whole or not at all.

    Parameters
    ----------
    out : Path
        The folder that holds the slides' folders.
    files : mapping of str to str
        The files' texts by their names.

    Raises
    ------
    OutputError
        If one cannot be written; an older one stays.
    """
    try:
        for name, text in files.items():
            with replaced_file(out / name) as part:
                part.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(
            f"asked to write {' and '.join(files)} to {out}, but: {error}; close programs that show what "
            "is there, and look at the permissions and the free space"
        ) from error


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header of all their names; what a row lacks, or is None, is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(names, (map(row.get, names) for row in rows))


def _without_folder(message: str, slide: str) -> str:
    """A message without the slide's folder: it is often called after the patient, and pages are shown."""
    return path_replaced(message, slide.removesuffix(slide_name(slide)), "")


def _page(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        {
            **row,
            "name": slide_name(row["slide"]),
            "message": _without_folder(row["message"], row["slide"]),
            "link": f"{quote(slide_name(row['slide']))}/report.html",
            "tumour": ": ".join(filter(None, map(row.get, _TUMOUR))),
            "bars": [
                (name, 100 * row[f"share_{k}"], colour)
                for k, (name, colour) in enumerate(zip(GRADE_NAMES, GRADE_COLOURS, strict=True))
                if f"share_{k}" in row
            ],
        }
        for row in rows
    ]
    statuses = [row["status"] for row in rows]
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    notices = list(dict.fromkeys(row["notice"] for row in rows if row["notice"]))
    return render(
        "cohort.html",
        rows=shown,
        counts=counts,
        notices=notices,
        use=RESEARCH_ONLY,
        meaning=NO_SCORE,
    )
