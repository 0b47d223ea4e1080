"""The rows of a `cohort.csv` that is there already: those of a run's other slides stay in it."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from napari_hmkd.export.cohort import TABLE_FILE, cohort_row
from napari_hmkd.export.summary import read_summary


def earlier_rows(out: Path) -> dict[str, dict[str, Any]]:
    """Rows of earlier runs, as `cohort_row` makes them, by the names of the slides' folders.

    A slide whose results have gone, and a failed one that is itself no longer there, has none; a table
    that cannot be read has no rows.

    Parameters
    ----------
    out : Path
        The folder that holds the slides' folders and the table.
    """
    try:
        with (out / TABLE_FILE).open(encoding="utf-8", newline="") as file:
            known = [(row["slide"], row["status"], row["message"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error):
        return {}
    rows = {}
    for slide, status, message in known:
        name = Path(slide).name
        failed = status == "failed"
        summary = None if failed else read_summary(out / name)
        if summary or (failed and ("://" in slide or os.path.exists(slide))):
            rows[name] = cohort_row(slide, status, message, summary or {})
    return rows
