"""Which genes a network sees, and on what scale: fitted on a training fold, kept with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError, reason_of
from napari_hmkd.genes.names import listed
from napari_hmkd.genes.table import GeneTable


@dataclass(frozen=True, eq=False)
class GeneSelection:
    """Genes in the order in which tokens hold them, each with the training fold's mean and spread.

    Attributes
    ----------
    genes : tuple of str
    mean, std : (genes,) float64
        Of the training cases; std (over n, not n - 1) is 1 where a gene is constant in them.
    token_genes : int
        Genes in a token.
    not_ranked : tuple of str
        Names that the ranking has and the table lacks.
    """

    genes: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    token_genes: int
    not_ranked: tuple[str, ...] = ()

    @property
    def tokens_per_case(self) -> int:
        """How many tokens the genes fill, the last one perhaps in part."""
        return -(-len(self.genes) // self.token_genes)

    def tokens(self, table: GeneTable, cases: Sequence[str]) -> NDArray[np.float32]:
        """Standardised genes as a network takes them.

        Parameters
        ----------
        table : GeneTable
            Holds these cases and at least the chosen genes, in any order.
        cases : sequence of str

        Returns
        -------
        (n, tokens, token_genes) float32
            In the order of `genes`, filled up with 0.

        Raises
        ------
        DataError
            If the table lacks a case or gene.
        """
        tokens = np.zeros((len(cases), self.tokens_per_case * self.token_genes), np.float32)
        tokens[:, : len(self.genes)] = self._standardised(table, cases)
        return tokens.reshape(len(cases), -1, self.token_genes)

    def median_deviations(self, table: GeneTable, cases: Sequence[str]) -> NDArray[np.float64]:
        """How far the genes of each case lie from the training cases: the median over the genes.

        Parameters
        ----------
        table, cases
            As of `tokens`.

        Returns
        -------
        (n,) float64
            In standard deviations of the training cases, at least 0.

        Raises
        ------
        DataError
            If the table lacks a case or gene.
        """
        return np.median(np.abs(self._standardised(table, cases)), axis=1)

    def require_in(self, table: GeneTable) -> None:
        """Refuse a table that lacks a gene.

        Raises
        ------
        DataError
            Naming the first that it lacks.
        """
        self._columns(table)

    def _standardised(self, table: GeneTable, cases: Sequence[str]) -> NDArray[np.float64]:
        number = self._columns(table)
        values = table.rows(cases)[:, [number[gene] for gene in self.genes]]
        return (values - self.mean) / self.std

    def _columns(self, table: GeneTable) -> dict[str, int]:
        number = {gene: column for column, gene in enumerate(table.genes)}
        if missing := [gene for gene in self.genes if gene not in number]:
            raise DataError(
                f"the gene table lacks {len(missing)} of the {len(self.genes)} genes that the "
                f"network was trained on: {listed(missing)}. Give a table with all of them"
            )
        return number

    def to_json(self) -> dict[str, Any]:
        """Lists, texts and numbers that `from_json` makes the same selection of."""
        return vars(self) | {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The selection that `to_json` wrote.

        Raises
        ------
        DataError
            If it is none.
        """
        try:
            found = cls(
                genes=tuple(map(str, content["genes"])),
                mean=np.array(content["mean"], np.float64),
                std=np.array(content["std"], np.float64),
                token_genes=int(content["token_genes"]),
                not_ranked=tuple(content["not_ranked"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"no selection of genes that this program wrote: {reason_of(error)}"
            ) from error
        shape = (len(found.genes),)
        if not found.mean.shape == found.std.shape == shape or not (found.std > 0).all():
            raise DataError(
                f"a selection of {shape[0]} genes with {found.mean.shape} means and "
                f"{found.std.shape} deviations: each gene needs one of both, above 0 the latter"
            )
        return found
