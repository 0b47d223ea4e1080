"""Choosing genes and their scale on a training fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.preprocessing import StandardScaler

from napari_hmkd.errors import DataError
from napari_hmkd.genes.names import listed
from napari_hmkd.genes.selection import GeneSelection
from napari_hmkd.genes.table import GeneTable, plain_names, symbol
from napari_hmkd.training.mkd.config import GeneSettings

DEFAULTS = GeneSettings()


def fit_selection(
    table: GeneTable,
    cases: Sequence[str],
    *,
    top: int = DEFAULTS.top_genes,
    ranking: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    token_genes: int = DEFAULTS.token_genes,
) -> GeneSelection:
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
    token_genes : int
        Genes in a token, at least 1.

    Raises
    ------
    DataError
        If no gene is left, or a training case is not in the table.
    """
    usable = usable_genes(table.genes, ranking, exclude)
    scaler = StandardScaler().fit(table.rows(cases).astype(np.float64))
    if ranking is None:
        usable = [usable[place] for place in np.argsort(-scaler.var_[usable], kind="stable")]
    chosen = usable[:top]
    places = gene_places(table.genes)
    return GeneSelection(
        tuple(table.genes[place] for place in chosen),
        scaler.mean_[chosen],
        scaler.scale_[chosen],
        token_genes,
        tuple(name for name in ranking or () if name not in places),
    )


def usable_genes(
    genes: Sequence[str], ranking: Sequence[str] | None, exclude: Sequence[str]
) -> list[int]:
    """Places of the genes that may be chosen: those of a ranking in its order, else in the table's.

    Parameters
    ----------
    genes : sequence of str
        The table's.
    ranking, exclude : sequences of str
        As of `fit_selection`.

    Raises
    ------
    DataError
        If no gene is left.
    """
    places = gene_places(genes)
    out = {place for name in exclude for place in places.get(name, ())}
    order = range(len(genes)) if ranking is None else _ranked(ranking, places)
    usable = [place for place in order if place not in out]
    if not usable:
        raise DataError(
            f"no gene is left of the table's {len(genes)}: {len(out)} are left out"
            + ("" if ranking is None else f", and {len(order)} are in the ranking")
            + ". Look whether the names are of one kind, e.g. symbols such as ERBB2"
        )
    return usable


def require_known(exclude: Sequence[str], genes: Sequence[str]) -> None:
    """Refuse names to leave out that the table lacks: the gene that is meant would be seen.

    Parameters
    ----------
    exclude, genes : sequences of str
        As of `usable_genes`.

    Raises
    ------
    DataError
        Naming them, and genes whose names are the same but for capitals, version or the other id.
    """
    places = gene_places(genes)
    if absent := [name for name in exclude if name not in places]:
        wanted = set().union(*map(plain_names, absent))
        near = [gene for gene in genes if not plain_names(gene).isdisjoint(wanted)]
        raise DataError(
            f"asked to leave out {listed(absent)}, which the gene table does not have; it has "
            f"{listed(near or genes[:3])}: spell them as the table does, or take them out of --exclude-genes"
        )


def _ranked(ranking: Sequence[str], places: Mapping[str, Sequence[int]]) -> list[int]:
    return list(dict.fromkeys(place for name in ranking for place in places.get(name, ())))


def gene_places(genes: Sequence[str]) -> dict[str, list[int]]:
    """Where the genes of each name stand, and those of each symbol."""
    places: dict[str, list[int]] = {}
    for place, gene in enumerate(genes):
        for name in {gene, symbol(gene)}:
            places.setdefault(name, []).append(place)
    return places
