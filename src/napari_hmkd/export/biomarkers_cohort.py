"""`biomarkers.csv`: the status predicted for many slides, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_hmkd.export.biomarkers import ENDING, SUMMARY_FILE
from napari_hmkd.export.cohort import table_text, write_beside
from napari_hmkd.export.earlier_rows import Lines, TableKind
from napari_hmkd.export.summary import read_summary
from napari_hmkd.model.mkd.card import Target
from napari_hmkd.wording import NO_GRADE, RESEARCH_ONLY, printable

COHORT_FILE = "biomarkers.csv"
_OF_A_RUN = frozenset(
    {
        "targets", "attention", "patches", "unreadable_tiles", "warnings", "seconds",
        "patches_of_an_earlier_run",
    }
)  # fmt: skip
"""Of a summary, what is no provenance."""


def biomarker_rows(
    slide: str, targets: Sequence[Target], about: Mapping[str, Any], message: str = ""
) -> list[dict[str, Any]]:
    """A slide's rows, one a target; what a failed slide lacks is None.

    Parameters
    ----------
    slide : str
        Its path or address.
    targets : sequence of Target
        The model's.
    about : mapping
        As `summarise_biomarkers` gives it; empty for a failed slide.
    message : str
        Why it failed.

    Returns
    -------
    list of dict
        `p_CLASS` are probabilities, None for the classes of other targets; `most_probable` is the class
        with the highest. `network` is "P" or "M", `genes` the row that M saw. `provenance` is the rest of
        `about` as JSON text.
    """
    found = {one["name"]: one for one in about.get("targets", ())}
    of_none = dict.fromkeys(f"p_{name}" for target in targets for name in target.classes)
    source = {name: said for name, said in about.items() if name not in _OF_A_RUN}
    return [
        {
            "slide": printable(slide),
            "outcome": "predicted" if about else "failed",
            "message": printable(message),
            "target": target.name,
            "definition": target.definition,
            "most_probable": found[target.name]["most_probable"] if about else None,
            "network": found[target.name]["network"] if about else None,
            "genes": (about.get("genes") or {}).get("row"),
            **of_none,
            **(_probabilities(found[target.name]) if about else {}),
            "patches": about.get("patches"),
            "unreadable_tiles": len(about["unreadable_tiles"]) if about else None,
            "seconds": about.get("seconds"),
            "warnings": "; ".join(about.get("warnings", ())),
            "notice": about.get("notice"),
            "use": RESEARCH_ONLY,
            "meaning": NO_GRADE,
            "provenance": json.dumps(source, ensure_ascii=False) if about else None,
        }
        for target in targets
    ]


def _probabilities(entry: Mapping[str, Any]) -> dict[str, float]:
    return {f"p_{name}": p for name, p in entry["probabilities"].items()}


def _earlier(lines: Lines, name: str, out: Path) -> list[dict[str, Any]]:
    if lines[-1]["outcome"] == "failed":
        return [{column: said for column, said in line.items() if column} for line in lines]
    about = read_summary(out / f"{name}{ENDING}", SUMMARY_FILE)
    if about is None:
        return []
    targets = [
        Target(
            name=one["name"],
            classes=tuple(one["probabilities"]),
            ordinal=one["ordinal"],
            definition=one["definition"],
        )
        for one in about["targets"]
    ]
    return biomarker_rows(lines[-1]["slide"], targets, about, lines[-1]["message"])


def _write(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    write_beside(out, {COHORT_FILE: table_text(rows)})


BIOMARKER_COHORT = TableKind(COHORT_FILE, "outcome", _earlier, _write)
