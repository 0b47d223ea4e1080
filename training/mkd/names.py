"""Which case a slide, a bag or a row of genes belongs to, by its name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable

# "-" in TCGA's barcodes, "." before a UUID or suffix; a TCGA sample also ends before its vial's letter.
_ENDS = re.compile(r"[-_. ]|(?<=^TCGA-\w\w-\w{4}-\d\d)(?=[A-Z])")


def case_of(name: str, cases: Collection[str]) -> str | None:
    """The case of this name, else the longest one that it begins with, else None.

    A case's name must end in it before "-", "_", "." or a space: TCGA-A1-A0SB-01Z-00-DX1 belongs to
    TCGA-A1-A0SB-01Z before the sample TCGA-A1-A0SB-01 and the patient TCGA-A1-A0SB, and P10 does not
    belong to P1.

    Parameters
    ----------
    name : str
    cases : collection of str
        Looked up in, so a set or dict.
    """
    ends = [match.start() for match in _ENDS.finditer(name)]
    beginnings = (name[:end] for end in (len(name), *reversed(ends)))
    return next((part for part in beginnings if part in cases), None)


def by_case(names: Iterable[str], cases: Collection[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Names under the cases that they belong to, and the names of no case, both in order."""
    found: dict[str, list[str]] = defaultdict(list)
    others: list[str] = []
    for name in names:
        case = case_of(name, cases)
        (others if case is None else found[case]).append(name)
    return found, others
