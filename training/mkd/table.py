"""The table of a run: CSV, Markdown and JSON, and on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from napari_hmkd.training.files import write_csv, write_whole
from napari_hmkd.training.run import write_json
from napari_hmkd.training.scores.markdown import markdown_table
from napari_hmkd.training.scores.report import footnotes, with_interval
from napari_hmkd.training.scores.tables import print_tables

TITLES = {
    "auc": "AUC",
    "auc_difference": "AUC less reference",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "f1": "F1",
    "kappa": "kappa",
    "mae": "MAE, classes",
    "ece": "ECE",
    "ece_uncalibrated": "ECE at T = 1",
}
OVER_FOLDS = "AUC, interval over folds"
TABLE_STEM = "table"
ENDS = ("", "_low", "_high", "_folds_low", "_folds_high")


def write_table(run: Path, found: Mapping[str, Any]) -> None:
    """Write `table.csv`, `table.md` and, last, `table.json`.

    Parameters
    ----------
    run : Path
        The folder.
    found : mapping
        `targets`: by target its `summary`, `scores` as `score_rows` gives them, and `notes`; `notes`
        about all of them.

    Raises
    ------
    OutputError
        If one cannot be written.
    """
    header = ["target", "network", *(f"{key}{end}" for key in TITLES for end in ENDS)]
    write_csv(run / f"{TABLE_STEM}.csv", header, _lines(found))
    write_whole(run / f"{TABLE_STEM}.md", markdown(found).encode())
    write_json(run / f"{TABLE_STEM}.json", found)


def print_table(found: Mapping[str, Any]) -> None:
    """Print one table for each target, and what goes with it."""
    for about in found["targets"].values():
        table = Table(*_columns(about), title=escape(about["summary"]))
        for title, cells in _cells(about):
            table.add_row(escape(title), *map(escape, cells))
        print_tables([table], _notes(about), len(TITLES))
    print_tables([], found["notes"], 0)


def markdown(found: Mapping[str, Any]) -> str:
    """The tables and their notes."""
    lines: list[str] = []
    for about in found["targets"].values():
        rows = [[title, *cells] for title, cells in _cells(about)]
        lines += [f"### {about['summary']}", "", *markdown_table(_columns(about), rows), ""]
        lines += [*(f"- {note}" for note in _notes(about)), ""]
    return "\n".join([*lines, *(f"- {note}" for note in found["notes"])]) + "\n"


def _names(about: Mapping[str, Any]) -> list[str]:
    """The scores that any row has."""
    return [key for key in TITLES if any(key in scores for scores in about["scores"].values())]


def _columns(about: Mapping[str, Any]) -> list[str]:
    return ["", *(TITLES[key] for key in _names(about)), OVER_FOLDS]


def _cells(about: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for title, scores in about["scores"].items():
        shown = [with_interval(scores[key]) if key in scores else "" for key in _names(about)]
        ends = scores["auc"]["interval_over_folds"]
        yield title, [*shown, f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""]


def _notes(about: Mapping[str, Any]) -> list[str]:
    scored = {
        f"{TITLES[key]} of {title}": score
        for title, scores in about["scores"].items()
        for key, score in scores.items()
    }
    return [*about["notes"], *footnotes(scored)]


def _lines(found: Mapping[str, Any]) -> Iterator[list[Any]]:
    """One for each target and network; cells of what is undefined are empty."""
    for target, about in found["targets"].items():
        for title, scores in about["scores"].items():
            numbers = [number for key in TITLES for number in _numbers(scores.get(key, {}))]
            yield [target, title, *numbers]


def _numbers(score: Mapping[str, Any]) -> list[Any]:
    """Value, both ends over patients, both ends over folds."""
    none = ("", "")
    ends = [score.get(name) or none for name in ("interval_95", "interval_over_folds")]
    value = score.get("value")
    return ["" if value is None else value, *ends[0], *ends[1]]
