"""Rows of a CSV file as spreadsheets write it, each with its line."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_hmkd.cells import separator
from napari_hmkd.errors import DataError

Row = dict[str, str]
_MARK = "\ufeff"  # of the order of bytes, by which Excel knows UTF-8


def read_rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, Row]]:
    """The cells of some columns of each row that is not blank, and the line the row begins in.

    UTF-8 with or without a byte order mark, commas, semicolons or tabs, columns in any order and among
    others; spaces around cells are dropped, and letters composed (Unicode NFC).

    Parameters
    ----------
    path : Path
        CSV file.
    columns, optional : sequence of str
        Columns that the file must have, and those that are empty where it has none.

    Raises
    ------
    DataError
        If the file cannot be read or lacks a column, or a row has too many cells or an open quote.
    """
    records = read_records(path, columns)
    line, first = next(records, (1, []))
    header = [cell.lower() for cell in first]
    _check_header(header, columns, optional, f"{path} line {line}")
    for line, cells in records:
        if any(cells[len(header) :]):
            raise DataError(
                f"{path} line {line}: {len(cells)} cells, but the header has {len(header)}: put a "
                "cell that holds a comma, semicolon or tab in double quotes"
            )
        # Spreadsheets leave out empty cells at a line's end.
        named = dict(zip(header, cells, strict=False))
        yield line, {name: named.get(name, "") for name in (*columns, *optional)}


def _check_header(
    header: Sequence[str], columns: Sequence[str], optional: Sequence[str], where: str
) -> None:
    if missing := [name for name in columns if name not in header]:
        raise DataError(
            f"{where}: no column {' and no column '.join(missing)}: the first line must name the "
            f"columns {', '.join(columns)}, separated by commas, semicolons or tabs"
        )
    if twice := [name for name in (*columns, *optional) if header.count(name) > 1]:
        raise DataError(f"{where}: the column {twice[0]} is there twice: rename or remove one")


def read_records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The stripped cells of each record that has any, the header's first, and the line it begins in.

    The columns are those by which the separator is known, as for `written_as`.

    Raises
    ------
    DataError
        If the file cannot be read, or a quote is left open.
    """
    text = _text(path)
    lines = io.StringIO(text.removeprefix(_MARK), newline="")
    reader = csv.reader(
        lines, delimiter=_separator(text, columns), skipinitialspace=True, strict=True
    )
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield line, stripped
            line = reader.line_num + 1  # a cell in quotes may hold line breaks
    except csv.Error as error:
        raise DataError(
            f"{path} line {line}: a cell that begins with a double quote does not end with one "
            f"({error}): close it, and write a quote inside a cell twice"
        ) from error


def written_as(path: Path, columns: Sequence[str]) -> tuple[str, str]:
    """The encoding and the separator of a table, by which spreadsheets know it again.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    text = _text(path)
    return "utf-8-sig" if text.startswith(_MARK) else "utf-8", _separator(text, columns)


def _separator(text: str, columns: Sequence[str]) -> str:
    return separator(text.removeprefix(_MARK).lstrip().partition("\n")[0], columns)


def _text(path: Path) -> str:
    """Of a file, with its byte order mark if it has one."""
    raw = b""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} line {line}: not UTF-8 text: save it as 'CSV UTF-8'") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): name a CSV file") from error
    return unicodedata.normalize("NFC", text)
