"""Scores on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from napari_hmkd.training.scores.report import SCALARS, with_interval

_NARROWEST = 80
_COLUMN = 27  # `-0.123 [-0.234, 0.345]` and its frame


def print_scores(found: Mapping[str, Any]) -> None:
    """A table of what `evaluate` found, and the sentences that go with it."""
    table = _table(found)
    confusions = [
        "\n".join(" ".join(f"{count:5d}" for count in row) for row in scored["confusion"])
        for scored in found["graders"].values()
    ]
    table.add_section()
    table.add_row("confusion\n(rows: label)", *confusions)
    remarks = [
        f"{name}: {remark}" for name, scored in found["graders"].items()
        for remark in scored["remarks"]
    ]  # fmt: skip
    _print(found, [table], [found["split"], *remarks])


def print_comparison(found: Mapping[str, Any]) -> None:
    """A table of what `compare` found: every score, then every pair's differences."""
    tables = [_table(found)]
    if found["differences"]:
        pairs = Table(title="paired differences")
        for column in ("", "quadratic weighted kappa", "accuracy"):
            pairs.add_column(column)
        for pair in found["differences"]:
            shown = [with_interval(pair[key]) for key in ("kappa", "accuracy")]
            pairs.add_row(escape(f"{pair['a']} - {pair['b']}"), *map(escape, shown))
        tables.append(pairs)
    _print(found, tables, [])


def _table(found: Mapping[str, Any]) -> Table:
    patients = "unknown" if found["patients"] is None else found["patients"]
    table = Table(title=f"{found['part']}: {found['tiles']} tiles, patients: {patients}")
    table.add_column("")
    for name in found["graders"]:
        table.add_column(escape(name), justify="right")
    for key, title in SCALARS.items():
        scores = [with_interval(scored[key]) for scored in found["graders"].values()]
        table.add_row(title, *map(escape, scores))
    return table


def _print(found: Mapping[str, Any], tables: Sequence[Table], more: Sequence[str]) -> None:
    console = Console()
    if not console.is_terminal:
        # In a file there is no edge to wrap at.
        console.width = max(_NARROWEST, 45 + _COLUMN * len(found["graders"]))
    for table in tables:
        console.print(table)
    unlabelled = found["tiles_without_label"]
    unscored = f"{unlabelled} tiles without a label were not scored" if unlabelled else ""
    note = f"{found['part']}: {found['part_note']}"
    for sentence in (note, *more, unscored, found["intervals"], found["notice"]):
        if sentence:
            console.print(sentence, soft_wrap=True, highlight=False, markup=False)
