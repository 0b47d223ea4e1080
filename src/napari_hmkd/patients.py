"""Who the patients in a table's cells are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from napari_hmkd.cells import MISSING
from napari_hmkd.wording import same_words

_NOBODY = {*map(str.casefold, MISSING), "none", "null", "unknown", "?", "-"}


def patient_told(cell: str) -> str:
    """The patient that a table's cell names; "" where it says that none is known, in words such as NA."""
    return "" if cell.casefold() in _NOBODY else cell


def same_patient(name: str) -> str:
    """Equal for names of one patient: as `same_words`, and as pandas writes numbers beside empty cells."""
    name = same_words(name)
    whole = name.removesuffix(".0")
    return whole if whole.isdecimal() else name


def written_twice(patients: Iterable[str]) -> list[str]:
    """One sentence for each patient whose name is written in several ways, who would count as several."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for name in patients:
        groups[same_patient(name)][name] = None
    return [
        f"one patient is written {' and '.join(map(repr, group))}: write the name the same way everywhere"
        for group in groups.values()
        if len(group) > 1
    ]
