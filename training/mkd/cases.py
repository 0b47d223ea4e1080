"""Cases: bags, genes and labels joined by name, and a list of what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_hmkd.bags.bag import read_header
from napari_hmkd.biomarkers.attributes import bag_name
from napari_hmkd.errors import DataError
from napari_hmkd.genes.matching import by_case, is_normal, own_rows
from napari_hmkd.genes.names import listed
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.mkd.labels import LabelledCase, LabelTable
from napari_hmkd.training.parallel import side_by_side

EXCLUSIONS_FILE = "exclusions.csv"
CASE, SLIDE, BAG, GENES = "case", "slide", "bag", "genes"
"""Kinds of what is left out: slides are those of the label table, genes are rows of the gene table."""


@dataclass(frozen=True)
class Case:
    """A case to train or test with.

    Attributes
    ----------
    name, patient : str
    bags : tuple of Path
        At least one; together they are the case's bag.
    label : int
        Place among the classes.
    genes : str
        Its row in the gene table, "" where there is no table.
    """

    name: str
    patient: str
    bags: tuple[Path, ...]
    label: int
    genes: str = ""


@dataclass(frozen=True)
class Exclusion:
    """What is left out, and why.

    Attributes
    ----------
    kind : str
        `CASE`, `SLIDE`, `BAG` or `GENES`.
    name, reason : str
    """

    kind: str
    name: str
    reason: str


def join_cases(
    bags: Mapping[str, Path], genes: GeneTable | None, labels: LabelTable
) -> tuple[list[Case], list[Exclusion]]:
    """Cases that have all there must be, in the label table's order, and all that is left out.

    A case's bags are those of `bags_of_cases`, its genes the row of its name, else the only one that
    begins with it. A case without a label, a bag, or genes where there is a table, or with several
    such rows, is left out; so are bags and rows of no case, and listed slides without a bag.

    Parameters
    ----------
    bags : mapping
        Names and files, as `find_bags` gives them.
    genes : GeneTable, optional
        Left out, no case needs genes.
    labels : LabelTable

    Raises
    ------
    DataError
        If two cases list one slide, no case of a class is left, bags differ in dimension,
        or a bag cannot be read.
    """
    found, exclusions = bags_of_cases(bags, {case.name: case.slides for case in labels.cases})
    rows, more = rows_of_cases(genes, [case.name for case in labels.cases])
    exclusions += more
    cases = []
    for case in labels.cases:
        missing = _without_label(case, labels)
        if not found[case.name]:
            missing.append("no bag")
        if genes is not None and len(rows[case.name]) != 1:
            several = f"several rows of genes: {listed(rows[case.name])}"
            missing.append(several if rows[case.name] else "no genes")
        if missing or case.label is None:
            exclusions.append(Exclusion(CASE, case.name, "; ".join(missing)))
        else:
            files = tuple(bags[name] for name in found[case.name])
            row = "" if genes is None else rows[case.name][0]
            cases.append(Case(case.name, case.patient, files, case.label, row))
    _require_classes(cases, labels, exclusions)
    _require_one_dimension(cases)
    return cases, exclusions


def bags_of_cases(
    bags: Mapping[str, Path], slides: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], list[Exclusion]]:
    """Names of the bags of every case, and bags and slides that have no partner.

    A case's bags are those of the slides that are listed for it, a suffix of which does not matter;
    where none is listed, those whose names are the case's or begin with it, see `case_of`.

    Parameters
    ----------
    bags : mapping
        Names and files, as `find_bags` gives them.
    slides : mapping
        Those listed for each case.

    Raises
    ------
    DataError
        If two cases list one slide.
    """
    found: dict[str, list[str]] = {case: [] for case in slides}
    exclusions: list[Exclusion] = []
    owner: dict[str, str] = {}
    for case, listed_slides in slides.items():
        for slide in listed_slides:
            name = slide if slide in bags else bag_name(slide)
            if owner.setdefault(name, case) != case:
                raise DataError(
                    f"the slide {slide} is listed for the cases {owner[name]} and {case}: one slide "
                    "cannot have two labels, and would be on two sides of a split"
                )
            if name not in bags:
                exclusions.append(Exclusion(SLIDE, slide, f"slide of case {case} without a bag"))
            elif name not in found[case]:
                found[case].append(name)
    open_cases = {case for case, listed_slides in slides.items() if not listed_slides}
    named, others = by_case((name for name in bags if name not in owner), open_cases)
    exclusions += [_of_no_case(BAG, name) for name in others]
    return found | named, exclusions


def rows_of_cases(
    genes: GeneTable | None, names: Sequence[str]
) -> tuple[dict[str, list[str]], list[Exclusion]]:
    """Rows of the gene table of every case, and rows that are not used.

    They are the one of the case's very name, else all that begin with it.
    """
    found, others = by_case(() if genes is None else genes.cases, set(names))
    # A row of the very name needs no other.
    rows = {name: own_rows(name, found) for name in names}
    unused = [row for name in names for row in found.get(name, ()) if row not in rows[name]]
    exclusions = [_of_no_case(GENES, row) for row in others]
    exclusions += [
        Exclusion(GENES, row, "genes of a case that has a row of its very name") for row in unused
    ]
    return rows, exclusions


def _of_no_case(kind: str, name: str) -> Exclusion:
    why = ", normal tissue by its barcode" if is_normal(name) else ""
    return Exclusion(kind, name, f"{kind} of no case in the label table{why}")


def _without_label(case: LabelledCase, labels: LabelTable) -> list[str]:
    if case.label is not None:
        return []
    if not case.value:
        return [f"no label for {labels.target}"]
    return [f"{labels.target} is {case.value!r}, which is none of {', '.join(labels.classes)}"]


def _require_classes(
    cases: Sequence[Case], labels: LabelTable, exclusions: Sequence[Exclusion]
) -> None:
    left = {case.label for case in cases}
    if len(left) == len(labels.classes):
        return
    lost = [name for label, name in enumerate(labels.classes) if label not in left]
    examples = {one.kind: one for one in reversed(exclusions)}
    shown = "; ".join(f"{one.name} ({one.reason})" for one in examples.values())
    raise DataError(
        f"target {labels.target}: of {len(labels.cases)} labelled cases {len(cases)} have all that is "
        f"needed, and none of them is {' or '.join(lost)}. Left out are, for example, {shown}: look "
        "whether bags, genes and labels name cases alike"
    )


def _require_one_dimension(cases: Sequence[Case]) -> None:
    files = [path for case in cases for path in case.bags]
    sizes = [header.features for header in side_by_side(read_header, files)]
    usual = max(set(sizes), key=sizes.count)
    if other := [
        f"{file} ({size})" for file, size in zip(files, sizes, strict=True) if size != usual
    ]:
        raise DataError(
            f"{len(files) - len(other)} bags have {usual} features a patch, and {len(other)} have "
            f"another number: {listed(other)}. Bags of one training come from one encoder"
        )
