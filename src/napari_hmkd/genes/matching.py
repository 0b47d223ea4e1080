"""Which case a slide, a bag or a row of genes belongs to, by its name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

# "-" in TCGA's barcodes, "." before a UUID or suffix; a TCGA sample also ends before its vial's letter.
_ENDS = re.compile(r"[-_. ]|(?<=^TCGA-\w\w-\w{4}-\d\d)(?=[A-Z])")
_TCGA_PATIENT = re.compile(r"TCGA-\w\w-\w{4}(?=-|$)")
"""Of https://docs.gdc.cancer.gov/Encyclopedia/pages/TCGA_Barcode: project, site and participant."""
_TCGA_SAMPLE = re.compile(r"TCGA-\w\w-\w{4}-(\d\d)(?!\d)")
"""With the kind of sample: 01 is a primary tumour, 06 a metastasis, 11 normal tissue."""


def case_of(name: str, cases: Collection[str]) -> str | None:
    """The case of this name, else the longest one that it begins with, else None.

    A case's name must end in it before "-", "_", "." or a space: TCGA-A1-A0SB-01Z-00-DX1 belongs to
    TCGA-A1-A0SB-01Z before the sample TCGA-A1-A0SB-01 and the patient TCGA-A1-A0SB, and P10 does not
    belong to P1. A patient's case is the tumour: TCGA-A1-A0SB-11A, which is normal tissue, is none of it.

    Parameters
    ----------
    name : str
    cases : collection of str
        Looked up in, so a set or dict.
    """
    ends = [match.start() for match in _ENDS.finditer(name)]
    beginnings = (name[:end] for end in (len(name), *reversed(ends)))
    tumour = not is_normal(name)
    return next(
        (part for part in beginnings if part in cases and (tumour or is_normal(part))), None
    )


def by_case(names: Iterable[str], cases: Collection[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Names under the cases that they belong to, and the names of no case, both in order."""
    found: dict[str, list[str]] = defaultdict(list)
    others: list[str] = []
    for name in names:
        case = case_of(name, cases)
        (others if case is None else found[case]).append(name)
    return found, others


def patient_of(name: str) -> str:
    """The patient that a TCGA barcode begins with; any other name as it is."""
    barcode = _TCGA_PATIENT.match(name)
    return barcode.group() if barcode else name


def is_normal(name: str) -> bool:
    """Whether a TCGA barcode says that the sample is normal tissue or blood (its kinds 10 to 19)."""
    sample = _TCGA_SAMPLE.match(name)
    return sample is not None and sample[1].startswith("1")


def own_rows(name: str, begun: Mapping[str, Sequence[str]]) -> list[str]:
    """The rows of a case: the one of its very name, else all that begin with it, as `by_case` found them."""
    rows = begun.get(name, ())
    return [name] if name in rows else list(rows)


def rows_meant(
    cases: Sequence[str], slides: Sequence[str], rows: Sequence[str]
) -> dict[str, list[str]]:
    """Rows of a gene table that the names of new cases, and of slides of no case, can mean.

    A case's are its own (`own_rows`). Where it has none, and for a slide, it is the row whose name theirs
    is or begins with; else those of the TCGA patient that theirs begins with, and of the same kind of
    sample: a name that does not tell it is a tumour's, of any kind.

    Returns
    -------
    dict of str to list of str
        By name: the row where there is one; none, or several, where it is not told which.
    """
    begun, _ = by_case(rows, set(cases))
    found = {name: begin for name in cases if (begin := own_rows(name, begun))}
    row_names, of_patient = set(rows), defaultdict(list)
    for row in rows:
        of_patient[patient_of(row)].append(row)
    for name in (*cases, *slides):
        if name not in found:
            own = case_of(name, row_names)
            others = (row for row in of_patient.get(patient_of(name), ()) if _same_kind(name, row))
            found[name] = list(others) if own is None else [own]
    return found


def _same_kind(*names: str) -> bool:
    """Whether names of one patient may be of one kind of sample."""
    told = {match[1] for name in names if (match := _TCGA_SAMPLE.match(name))}
    return len(told) < 2 and len(set(map(is_normal, names))) == 1
