"""Gene tables from files: cases x genes, or cBioPortal's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.genes.table import BETWEEN, GeneTable
from napari_hmkd.genes.tables import read_table

SYMBOL, ENTREZ = "Hugo_Symbol", "Entrez_Gene_Id"
"""The columns by which cBioPortal's layout is known."""


def read_genes(path: Path) -> GeneTable:
    """Read a table of cases x genes, or one in cBioPortal's layout.

    Without a column `Hugo_Symbol` each row is a case: its name in the first column, a gene in each
    other. With it, each row is a gene and each column a sample. There, genes without a symbol, or
    whose symbol several rows have, are told apart by `Entrez_Gene_Id` where that column is given,
    as `SLC35E2|9906`. What is then still there twice is an error.

    Parameters
    ----------
    path : Path
        CSV, TSV or Parquet, plain or gzip.

    Raises
    ------
    DataError
        If it cannot be read, names a case or gene twice, or a value is no finite number.
    """
    frame = read_table(path, _name_columns, columns=(SYMBOL, ENTREZ))
    by_gene = SYMBOL in frame.columns
    names = _name_columns(list(frame.columns))
    numbers = _numbers(path, frame, names, by_gene)
    rows = tuple(_gene_names(frame) if by_gene else frame[names[0]])
    columns = tuple(name for name in frame.columns if name not in names)
    try:
        if by_gene:
            return GeneTable(columns, rows, np.ascontiguousarray(numbers.T))
        return GeneTable(rows, columns, numbers)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _name_columns(header: list[str]) -> list[str]:
    """The columns that hold names."""
    if SYMBOL in header:
        return [name for name in header if name in (SYMBOL, ENTREZ)]
    return header[:1]


def _gene_names(frame: pd.DataFrame) -> list[str]:
    """Symbols, with the Entrez id where a symbol alone is none or is shared."""
    symbols = list(frame[SYMBOL])
    if ENTREZ not in frame.columns:
        return symbols
    count = Counter(symbols)
    return [
        name if name and count[name] == 1 else f"{name or '?'}{BETWEEN}{entrez}"
        for name, entrez in zip(symbols, frame[ENTREZ], strict=True)
    ]


def _numbers(
    path: Path, frame: pd.DataFrame, names: Sequence[str], by_gene: bool
) -> NDArray[np.float32]:
    """(rows, columns without the names); NaN where a cell is empty."""
    values = frame.drop(columns=list(names))
    numeric = values.select_dtypes("number").columns
    if len(texts := values.columns.difference(numeric, sort=False)):
        wrong = {name: pd.to_numeric(values[name].astype(str), errors="coerce") for name in texts}
        for name, cells in wrong.items():
            for row in values.index[cells.isna() & values[name].notna()]:
                owner = frame.at[row, names[0]]
                gene, case = (owner, name) if by_gene else (name, owner)
                cell = values.at[row, name]
                decimal = ", and write decimals with a point" if "," in str(cell) else ""
                raise DataError(
                    f"{path}: gene {gene} of case {case} is {cell!r}, no number; {len(texts)} columns "
                    f"have such cells. Take out columns that hold no expression{decimal}"
                )
        values = values.assign(**wrong)
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as not finite
        return values.to_numpy(np.float32, na_value=np.nan)
