"""Scores on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from napari_hmkd.training.scores.report import SCALARS, footnotes, told_once, with_interval
from napari_hmkd.wording import counted

_PAIRED = {"kappa": "quadratic weighted kappa", "accuracy": "accuracy"}
ALL_GRADERS = "all graders"
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
    remarks = told_once(
        {name: scored["remarks"] for name, scored in found["graders"].items()}, ALL_GRADERS
    )
    _print(found, [table], [found["split"], *remarks, *_notes(found)], len(found["graders"]))


def print_comparison(found: Mapping[str, Any]) -> None:
    """A table of what `compare` found: every score, then every pair's differences."""
    tables, more = [_table(found)], [*found["remarks"], *_notes(found)]
    if found["differences"]:
        pairs = Table("", *_PAIRED.values(), title="paired differences")
        notes = {}
        for pair in found["differences"]:
            title = f"{pair['a']} - {pair['b']}"
            shown = {column: pair[key] for key, column in _PAIRED.items()}
            pairs.add_row(escape(title), *(escape(with_interval(s)) for s in shown.values()))
            notes[title] = footnotes(shown)
        tables.append(pairs)
        more += told_once(notes, "all pairs")
    _print(found, tables, more, len(found["graders"]))


def print_groups(found: Mapping[str, Any]) -> None:
    """A table of what `compare_groups` found."""
    less_reference = f"less {found['reference']}"
    headers = ("", "score", "of each run", "mean", less_reference)
    table = Table(*map(escape, headers), title=_title(found))
    notes: dict[str, list[str]] = {}
    for name, scores in found["scores"].items():
        for key, title in _PAIRED.items():
            difference = found["differences"].get(name, {}).get(key)
            runs = " ".join("-" if v is None else f"{v:.3f}" for v in scores[key]["per_seed"])
            less = "" if difference is None else with_interval(difference)
            table.add_row(*map(escape, (name, title, runs, with_interval(scores[key]), less)))
            shown = {title: scores[key]} | ({less_reference: difference} if difference else {})
            notes.setdefault(name, []).extend(footnotes(shown))
    more = told_once(notes, "all groups")
    _print(found, [table], [*found["remarks"], *more], 4)


def _notes(found: Mapping[str, Any]) -> list[str]:
    """What is missing among each grader's scores, and why."""
    notes = {
        name: footnotes({title: scored[key] for key, title in SCALARS.items()})
        for name, scored in found["graders"].items()
    }
    return told_once(notes, ALL_GRADERS)


def _title(found: Mapping[str, Any]) -> str:
    patients = "unknown" if found["patients"] is None else found["patients"]
    return f"{found['part']}: {counted(found['tiles'], 'tile')}, patients: {patients}"


def _table(found: Mapping[str, Any]) -> Table:
    table = Table("", title=_title(found))
    for name in found["graders"]:
        table.add_column(escape(name), justify="right")
    for key, title in SCALARS.items():
        scores = [with_interval(scored[key]) for scored in found["graders"].values()]
        table.add_row(title, *map(escape, scores))
    return table


def _print(
    found: Mapping[str, Any], tables: Sequence[Table], more: Sequence[str], columns: int
) -> None:
    unlabelled = found["tiles_without_label"]
    unscored = f"not scored, without a label: {counted(unlabelled, 'tile')}" if unlabelled else ""
    note = f"{found['part']}: {found['part_note']}"
    print_tables(tables, (note, *more, unscored, found["intervals"], found["notice"]), columns)


def print_tables(tables: Iterable[Table], sentences: Iterable[str], columns: int) -> None:
    """Print tables of at most so many columns of scores, then what goes with them."""
    console = Console(emoji=False)
    if not console.is_terminal:
        # In a file there is no edge to wrap at.
        console.width = max(_NARROWEST, 45 + _COLUMN * columns)
    for table in tables:
        console.print(table)
    for sentence in filter(None, sentences):
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
