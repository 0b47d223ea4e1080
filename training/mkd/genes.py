"""Gene tables: one number for each case and gene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.tables import listed, read_table, require_unique

SYMBOL, ENTREZ = "Hugo_Symbol", "Entrez_Gene_Id"
"""The columns by which cBioPortal's layout is known."""
BETWEEN = "|"
"""Stands between symbol and Entrez id where the symbol alone does not tell two genes apart."""


@dataclass(frozen=True, eq=False)
class GeneTable:
    """Expression of genes in cases.

    Attributes
    ----------
    cases, genes : tuple of str
        Names, each there once.
    values : (cases, genes) float32
        Finite; on a logarithmic scale best, as they are used as they stand.

    Raises
    ------
    DataError
        If names are there twice, or a value is no finite number.
    """

    cases: tuple[str, ...]
    genes: tuple[str, ...]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse tables that cannot be used."""
        for names, what in ((self.cases, "cases"), (self.genes, "genes")):
            if "" in names:
                raise DataError(
                    f"a gene table must name all {what}: {names.count('')} have no name"
                )
            require_unique(names, what)
        if not self.values.size or self.values.shape != (len(self.cases), len(self.genes)):
            raise DataError(
                f"a gene table of {len(self.cases)} cases and {len(self.genes)} genes cannot have "
                f"values of shape {self.values.shape}: it needs one for each case and gene"
            )
        bad = ~np.isfinite(self.values)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataError(
                f"gene {self.genes[column]} of case {self.cases[row]} is missing or not finite, as "
                f"are values of {bad.any(0).sum()} genes and {bad.any(1).sum()} cases in all: fill "
                "them, or take these genes or cases out of the table"
            )

    def rows(self, cases: Sequence[str]) -> NDArray[np.float32]:
        """(n, genes): the values of these cases, in their order.

        Raises
        ------
        DataError
            If the table lacks a case.
        """
        number = {case: row for row, case in enumerate(self.cases)}
        if missing := [case for case in cases if case not in number]:
            raise DataError(
                f"the gene table has {len(self.cases)} cases and lacks {listed(missing)}: join "
                "cases, genes and labels first"
            )
        return self.values[[number[case] for case in cases]]


def symbol(gene: str) -> str:
    """The symbol of a gene that may be named as TCGA does: ERBB2 of ERBB2|2064."""
    return gene.partition(BETWEEN)[0]


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
    frame = read_table(path, _name_columns)
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
                raise DataError(
                    f"{path}: gene {gene} of case {case} is {values.at[row, name]!r}, no number; "
                    f"{len(texts)} columns have such cells. Take out columns that hold no expression"
                )
        values = values.assign(**wrong)
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as not finite
        return values.to_numpy(np.float32, na_value=np.nan)
