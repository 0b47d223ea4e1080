"""Which rows of scores are about the same slide: by fingerprint where one is known, else by name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_hmkd.errors import DataError

SHOWN = 8  # letters of a fingerprint, enough for people to tell two apart


@dataclass(frozen=True, slots=True)
class NamedSlide:
    """A slide as a row names it; `fingerprint` is "" where the row has none."""

    name: str
    fingerprint: str


def identified(path: Path, rows: Sequence[tuple[int, NamedSlide]]) -> list[NamedSlide]:
    """The slide of each row, equal for equal slides.

    A row without a fingerprint takes that of the others with its name. A slide has the name that the
    table gives it first; where several files share that name, with the first letters of the fingerprint.

    Parameters
    ----------
    path : Path
        The table, for messages.
    rows : sequence of (line, NamedSlide)

    Raises
    ------
    DataError
        If a row without a fingerprint may be about either of several files; the message names lines.
    """
    lines: dict[str, dict[str, int]] = defaultdict(dict)  # by name and fingerprint
    names: dict[str, str] = {}  # by fingerprint
    for line, slide in rows:
        if slide.fingerprint:
            lines[slide.name].setdefault(slide.fingerprint, line)
            names.setdefault(slide.fingerprint, slide.name)
    files = Counter(names.values())
    found = []
    for line, slide in rows:
        known = lines[slide.name]
        if not slide.fingerprint and len(known) > 1:
            first, second, *_ = known.values()
            raise DataError(
                f"{path} line {line}: the slide {slide.name!r} may be that of line {first} or that of line "
                f"{second}, which are other files: fill in the cell fingerprint, as summary.json has it"
            )
        fingerprint = slide.fingerprint or next(iter(known), "")
        name = names.get(fingerprint, slide.name)
        if files[name] > 1:
            name += _mark(fingerprint)
        found.append(NamedSlide(name, fingerprint))
    return found


def name_in_table(name: str, fingerprint: str) -> str:
    """A slide's name as the table has it, from that of `identified`."""
    return name.removesuffix(_mark(fingerprint))


def _mark(fingerprint: str) -> str:
    return f" ({fingerprint[:SHOWN]})"
