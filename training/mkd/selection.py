"""Which genes a network sees, and on what scale: fitted on the training fold, kept with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.config import GeneSettings
from napari_hmkd.training.mkd.genes import GeneTable, symbol
from napari_hmkd.training.mkd.tables import listed

DEFAULTS = GeneSettings()


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
    not_excluded, not_ranked : tuple of str
        Names that were to be left out, or that the ranking has, and that the table lacks.
    """

    genes: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    token_genes: int = DEFAULTS.token_genes
    not_excluded: tuple[str, ...] = ()
    not_ranked: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        table: GeneTable,
        cases: Sequence[str],
        *,
        top: int = DEFAULTS.top_genes,
        ranking: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        token_genes: int = DEFAULTS.token_genes,
    ) -> Self:
        """Choose genes and their scale; of the table, only rows of the training cases are looked at.

        Genes are left out first. Of the others come the first of the ranking, or else those with
        the greatest variance over the training cases, the greatest first, equals in the table's
        order. Symbols to leave out or to rank stand for each gene of that symbol, so that ERBB2
        also means ERBB2|2064.

        Parameters
        ----------
        table : GeneTable
        cases : sequence of str
            Rows of the training fold.
        top : int
            Most genes, at least 1; all of them where the table has fewer.
        ranking : sequence of str, optional
            Genes, the most telling first; those that it lacks are not used.
        exclude : sequence of str
            Genes to leave out, such as those that the label can be read off.

        Raises
        ------
        DataError
            If no gene is left, none of those to leave out or a training case is in the table, or `top` is
            below 1.
        """
        if top < 1 or token_genes < 1:
            raise DataError(f"asked for {top} genes in tokens of {token_genes}: ask for 1 or more")
        places = gene_places(table.genes)
        if exclude and not any(name in places for name in exclude):
            raise DataError(
                f"asked to leave out {listed(exclude)}, none of which the gene table has; its names are like "
                f"{listed(table.genes[:3])}: spell them as the table does"
            )
        out = {place for name in exclude for place in places.get(name, ())}
        scaler = StandardScaler().fit(table.rows(cases).astype(np.float64))
        if ranking is None:
            order = np.argsort(-scaler.var_, kind="stable").tolist()
        else:
            order = list(dict.fromkeys(p for name in ranking for p in places.get(name, ())))
        chosen = [place for place in order if place not in out][:top]
        if not chosen:
            raise DataError(
                f"no gene is left of the table's {len(table.genes)}: {len(out)} are left out"
                + ("" if ranking is None else f", and {len(order)} are in the ranking")
                + ". Look whether the names are of one kind, e.g. symbols such as ERBB2"
            )
        return cls(
            tuple(table.genes[place] for place in chosen),
            scaler.mean_[chosen],
            scaler.scale_[chosen],
            token_genes,
            tuple(name for name in exclude if name not in places),
            tuple(name for name in ranking or () if name not in places),
        )

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
        number = {gene: column for column, gene in enumerate(table.genes)}
        if missing := [gene for gene in self.genes if gene not in number]:
            raise DataError(
                f"the gene table lacks {len(missing)} of the {len(self.genes)} genes that the "
                f"network was trained on: {listed(missing)}. Give a table with all of them"
            )
        values = table.rows(cases)[:, [number[gene] for gene in self.genes]]
        tokens = np.zeros((len(cases), self.tokens_per_case * self.token_genes), np.float32)
        tokens[:, : len(self.genes)] = (values - self.mean) / self.std
        return tokens.reshape(len(cases), -1, self.token_genes)

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
                not_excluded=tuple(content["not_excluded"]),
                not_ranked=tuple(content["not_ranked"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"no selection of genes that this program wrote: {error!r}") from error
        shape = (len(found.genes),)
        if not found.mean.shape == found.std.shape == shape or not (found.std > 0).all():
            raise DataError(
                f"a selection of {shape[0]} genes with {found.mean.shape} means and "
                f"{found.std.shape} deviations: each gene needs one of both, above 0 the latter"
            )
        return found


def gene_places(genes: Sequence[str]) -> dict[str, list[int]]:
    """Where the genes of each name stand, and those of each symbol."""
    places: dict[str, list[int]] = {}
    for place, gene in enumerate(genes):
        for name in {gene, symbol(gene)}:
            places.setdefault(name, []).append(place)
    return places
