"""Tables of cases: CSV or TSV, plain or gzip, or Parquet; errors name the file, its line and cell."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa

from napari_hmkd.cells import MISSING, separator
from napari_hmkd.errors import DataError
from napari_hmkd.genes.names import listed, require_unique

PARQUET = ".parquet"
_GZIP = b"\x1f\x8b"


def read_table(
    path: Path, text: Callable[[list[str]], Sequence[str]], columns: Sequence[str]
) -> pd.DataFrame:
    """A table whose columns are named once each; rows without any value are left out.

    Commas, semicolons or tabs separate the cells of a text, which is UTF-8 and begins with a line
    of names; empty cells at a line's end do not count. Parquet may hold its first column as pandas' index.

    Parameters
    ----------
    path : Path
        Parquet where its name ends so, else text, plain or gzip.
    text : callable
        Given the names of all columns, those to keep as text; others become numbers where all
        their cells are numbers.
    columns : sequence of str
        Names that the table may have, by which the separator of its cells is known.

    Returns
    -------
    DataFrame
        Texts are stripped, and "" where `MISSING`; missing numbers are NaN. The index counts the
        rows of the file from 0, see `place`.

    Raises
    ------
    DataError
        If it cannot be read as such a table, two columns have one name, or Parquet has floats alone
        where texts are to be.
    """
    with _reading(path):
        frame, texts = (
            _parquet(path, text) if _is_parquet(path) else _text_table(path, text, columns)
        )
    frame = frame.dropna(how="all")
    for name in texts:
        # Whole numbers of Parquet are floats beside missing ones: 2064 shall not become 2064.0.
        cells = frame[name].convert_dtypes().astype("string").fillna("").str.strip()
        frame[name] = cells.mask(cells.isin(MISSING), "")
    return frame


def read_lines(path: Path) -> list[str]:
    """The lines of a text, plain or gzip.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    with _reading(path), _open(path) as file:
        return file.read().splitlines()


def place(path: Path, row: int) -> str:
    """Where a row of `read_table`'s index stands, counted from 1 and with the header of a text."""
    return f"{path} row {row + 1}" if _is_parquet(path) else f"{path} line {row + 2}"


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == PARQUET


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    # pandas' own errors are ValueErrors; so are those of text that is not UTF-8.
    except (OSError, EOFError, ValueError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read as a table: {str(error).strip()}. Give CSV or TSV in UTF-8, plain "
            "or gzip, or Parquet"
        ) from error


def _text_table(
    path: Path, text: Callable[[list[str]], Sequence[str]], columns: Sequence[str]
) -> tuple[pd.DataFrame, Sequence[str]]:
    with _open(path) as file, warnings.catch_warnings():
        first = file.readline()
        parted_by = separator(first, columns)
        file.seek(0)  # pandas counts lines from where it begins
        # Spreadsheets write empty cells beyond the table.
        lines = [line.rstrip(parted_by + "\r\n") for line in file]
        header = _header(path, next(csv.reader(lines[:1], delimiter=parted_by), []))
        texts = text(header)
        # pandas only warns where the first row is longer than the header, and drops its end.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO("\n".join(lines)),
                sep=parted_by,
                header=0,
                names=header,
                index_col=False,
                dtype=dict.fromkeys(texts, str),
                keep_default_na=False,
                na_values=list(MISSING),
                skip_blank_lines=False,
                low_memory=False,
            )
        except pd.errors.ParserWarning as warning:
            raise ValueError(f"line 2 has more cells than the {len(header)} of line 1") from warning
    return frame, texts


def _parquet(
    path: Path, text: Callable[[list[str]], Sequence[str]]
) -> tuple[pd.DataFrame, Sequence[str]]:
    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = _header(path, [str(name) for name in frame.columns])
    texts = text(list(frame.columns))
    if all(dtype.kind == "f" for dtype in frame[list(texts)].dtypes):
        raise DataError(
            f"{path}: {listed(texts)} should hold names, but holds floating point numbers, as where a frame "
            "is written without its index: write the names as the first column"
        )
    return frame, texts


def _open(path: Path) -> TextIO:
    """The text, without a byte order mark."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    raw = gzip.open(path) if packed else path.open("rb")
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _header(path: Path, cells: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(header) < 2:
        raise DataError(
            f"{path} has fewer than two columns in its first line: it must name the columns, "
            "separated by commas, semicolons or tabs"
        )
    require_unique(header, "columns", path)
    return header
