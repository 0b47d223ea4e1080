"""Gene tables: one number for each case and gene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.genes.names import listed, require_unique

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


def plain_names(gene: str) -> set[str]:
    """Symbol and id of a gene in capitals, without a version as Ensembl's ids may have."""
    return {part.partition(".")[0].upper() for part in gene.split(BETWEEN)}
