"""Tables of slides that are there already: the rows of other runs' slides stay in them."""

from __future__ import annotations

import csv
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from napari_hmkd.errors import HmkdError, OutputError
from napari_hmkd.leftovers import one_at_a_time
from napari_hmkd.wording import printable

_LOG = logging.getLogger(__name__)
Row = dict[str, Any]
Lines = list[dict[str, str]]


@dataclass(frozen=True)
class TableKind:
    """A table with rows for each of many slides, beside their folders.

    Attributes
    ----------
    file : str
        Its name.
    outcome : str
        The column that says "failed" of a slide without results; `slide` and `message` are others.
    rows : callable
        Makes a slide's rows anew from its lines in the table, its name and the folder that holds the
        slides' folders: none where its results have gone, and an error where they are of another kind.
    write : callable
        Writes all rows into that folder, in place of an older table.
    """

    file: str
    outcome: str
    rows: Callable[[Lines, str, Path], list[Row]]
    write: Callable[[Sequence[Row], Path], None]


class SharedTable:
    """A table to which runs add, one after the other and side by side.

    Rows of other slides stay, but for those whose results have gone, and of failed ones that are themselves no
    longer there.

    Parameters
    ----------
    out : Path
        The folder that holds the slides' folders and the table.
    kind : TableKind
    slides : sequence of str
        Paths or addresses of this run's, in the order of their rows where they have none yet.

    Raises
    ------
    OutputError
        If there is a table that cannot be read: it would be lost.
    """

    def __init__(self, out: Path, kind: TableKind, slides: Sequence[str]) -> None:
        self._out, self._kind, self._file = out, kind, out / kind.file
        self._slides = [slide_name(printable(slide)) for slide in slides]
        self._earlier: dict[str, list[Row]] = {}
        self._new: dict[str, list[Row]] = {}
        self._seen: tuple[int, ...] | None = None
        self._read()
        self._before = tuple(self._earlier)  # their rows keep their places

    def add(self, rows: list[Row]) -> OutputError | None:
        """Put a slide's rows into the file; that of one slide alone only if it has others' rows.

        Returns
        -------
        OutputError or None
            Why that failed: a table that someone looks at ends no run. The next call tries again.
        """
        self._new[slide_name(rows[0]["slide"])] = rows
        try:
            self._read()
            if len(self._slides) == 1 and not self._earlier:
                return None  # before a folder is made for it
            with one_at_a_time(self._file):
                self._read()
                found = self._earlier | self._new
                order = dict.fromkeys((*self._before, *self._slides, *found))
                both = [row for name in order for row in found.get(name, ())]
                self._kind.write(both, self._out)
                self._seen = _state(self._file)
                # From now on they are as any others: another run may grade these slides anew.
                self._earlier, self._new = found, {}
        except OutputError as error:
            return error
        return None

    def _read(self) -> None:
        """Take up the file, unless this run was the last to write it."""
        path = self._file
        try:
            if self._seen == (state := _state(path)):
                return
            lines = _read_lines(path, ("slide", "message", self._kind.outcome)) if state else {}
        except (OSError, ValueError, csv.Error) as error:
            raise OutputError(
                f"asked to add slides to {path}, but it cannot be read: {error}; save it as CSV in UTF-8 with "
                "commas, or give it another name, and a new one is begun"
            ) from error
        found = {name: self._known(name, of) or self._rows(name, of) for name, of in lines.items()}
        # What another run left out of this run's, or all of it where the table was removed.
        gone = (name for name in self._slides if name not in lines)
        found |= {name: self._earlier.get(name, []) for name in gone}
        self._earlier = {name: rows for name, rows in found.items() if rows}
        self._seen = state

    def _known(self, name: str, lines: Lines) -> list[Row]:
        """A slide's rows where they stand in the file as they did: its results need not be read again."""
        rows = self._earlier.get(name, [])
        return rows if list(map(_texts, rows)) == list(map(_texts, lines)) else []

    def _rows(self, name: str, lines: Lines) -> list[Row]:
        slide = lines[-1]["slide"]
        if lines[-1][self._kind.outcome] == "failed" and not (
            "://" in slide or os.path.exists(slide)
        ):
            return []
        try:
            return self._kind.rows(lines, name, self._out)
        except (AttributeError, KeyError, TypeError, ValueError, HmkdError) as error:
            _LOG.warning(
                "%s is left out of %s: the results there are of another kind, or lack something (%r); make "
                "them again",
                self._out / name, self._kind.file, error,
            )  # fmt: skip
            return []


def slide_name(slide: str) -> str:
    """The file name of a path or address, be it one of Windows or not."""
    windows = PureWindowsPath(slide)
    return windows.name if windows.drive else Path(slide).name


def _texts(row: Mapping[str, object]) -> dict[str, str]:
    """The cells of a row that are not empty, as a CSV file gives them back."""
    return {name: text for name, one in row.items() if one is not None and (text := str(one))}


def _state(path: Path) -> tuple[int, ...] | None:
    """What differs when a file was written anew; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read_lines(path: Path, columns: Sequence[str]) -> dict[str, Lines]:
    """The lines of a table, which must have these columns, by the names of their slides.

    Raises
    ------
    OSError, ValueError, csv.Error
        It cannot be read, or is cut.
    """
    by_name = defaultdict(list)
    with path.open(encoding="utf-8-sig", newline="") as file:  # Excel puts a byte order mark first
        reader = csv.DictReader(file)
        if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise ValueError(f"it has no column {' and '.join(lacking)}")
        for line in reader:
            if any(line[name] is None for name in columns):
                raise ValueError(f"line {reader.line_num} ends too early")
            by_name[slide_name(line["slide"])].append(line)
    return by_name
