"""Cases to be predicted: bags put together by a table of cases, each with its row of genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.genes.matching import rows_meant
from napari_hmkd.genes.names import listed
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.console import say
from napari_hmkd.training.mkd.cases import (
    BAG,
    SLIDE,
    Case,
    Exclusion,
    bags_of_cases,
)
from napari_hmkd.training.mkd.labels import read_slides

UNLABELLED = -1


def unlabelled_cases(
    bags: Mapping[str, Path], case_table: Path | None, genes: GeneTable | None
) -> list[Case]:
    """The cases of a table that have bags, and after them each bag of no case by itself.

    Bags and genes belong to a case as in training. A case that has no genes so, and a bag by itself,
    have those that `rows_meant` finds, if it is one row. What the table has no bag for, bags of no
    case, and names of several rows are told on the console.

    Parameters
    ----------
    bags : mapping
        Names and files, as `find_bags` gives them.
    case_table : Path, optional
        As `read_slides` takes it; left out, each bag is by itself.
    genes : GeneTable, optional

    Returns
    -------
    list of Case
        Without label and patient; the name of a bag by itself is "", as is the row of one without
        genes.

    Raises
    ------
    DataError
        If the table cannot be read, two of its cases list one slide, or none has a bag.
    """
    slides = {} if case_table is None else read_slides(case_table)
    found, exclusions = bags_of_cases(bags, slides)
    if case_table is not None:
        _tell(case_table, found, exclusions)
    alone = [one.name for one in exclusions if one.kind == BAG]
    groups = [(name, own) for name, own in found.items() if own] + [("", [name]) for name in alone]
    rows = {} if genes is None else _rows(list(found), alone, genes)
    return [
        Case(name, "", tuple(bags[bag] for bag in own), UNLABELLED, rows.get(name or own[0], ""))
        for name, own in groups
    ]


def _tell(table: Path, found: Mapping[str, Sequence[str]], exclusions: Sequence[Exclusion]) -> None:
    if not any(found.values()):
        raise DataError(
            f"none of the {len(found)} cases of {table} has a bag: look whether both name cases alike, or "
            "list the slides of each case in a column slide"
        )
    kinds = {kind: [one.name for one in exclusions if one.kind == kind] for kind in (SLIDE, BAG)}
    for what, names in (
        ("cases without a bag", [name for name, own in found.items() if not own]),
        ("listed slides without a bag", kinds[SLIDE]),
        ("bags of no case, each judged by itself", kinds[BAG]),
    ):
        if names:
            say(f"{table}: {len(names)} {what}: {listed(names)}")


def _rows(cases: Sequence[str], alone: Sequence[str], genes: GeneTable) -> dict[str, str]:
    """The row of genes of each name that has one."""
    meant = rows_meant(cases, alone, genes.cases)
    if several := [name for name, rows in meant.items() if len(rows) > 1]:
        say(f"{len(several)} names with several rows of genes, judged without: {listed(several)}")
    return {name: rows[0] for name, rows in meant.items() if len(rows) == 1}
