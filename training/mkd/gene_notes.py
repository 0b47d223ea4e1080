"""What a reader of the scores has to know of the genes that the networks could see."""

from __future__ import annotations

from collections.abc import Sequence

from napari_hmkd.genes.names import listed
from napari_hmkd.genes.table import plain_names, symbol
from napari_hmkd.training.mkd.config import GeneSettings
from napari_hmkd.training.mkd.selection import usable_genes

ERBB2 = ("ERBB2", "ENSG00000141736", "2064")
"""Symbol, Ensembl and Entrez id of the gene that HER2 status can be read off."""


def gene_notes(
    genes: Sequence[str], ranking: Sequence[str] | None, settings: GeneSettings
) -> list[str]:
    """Sentences about what was chosen from, what was left out, and ERBB2.

    Parameters
    ----------
    genes : sequence of str
        The table's.
    ranking : sequence of str, optional
    settings : GeneSettings
        Its genes to leave out are in the table.

    Raises
    ------
    DataError
        If no gene is left.
    """
    out = settings.excluded
    order = (
        "of the largest variance in each fold's training cases"
        if ranking is None
        else "that a ranking has first, which must not come from the cases tested here"
    )
    left = listed(out) if out else "none"
    told = f"Genes: at most {settings.top_genes} {order}; left out: {left}."
    usable = {genes[place] for place in usable_genes(genes, ranking, out)}
    return [told, *_about_erbb2(genes, usable, out)]


def _about_erbb2(genes: Sequence[str], usable: set[str], out: Sequence[str]) -> list[str]:
    own = [gene for gene in genes if not plain_names(gene).isdisjoint(ERBB2)]
    if not own:
        _, ensembl, entrez = ERBB2
        return [
            f"ERBB2 is not in the table under that symbol, {ensembl} or Entrez {entrez}: whether another "
            "name stands for it was not looked for."
        ]
    notes = []
    for gene in own:
        called = gene if gene == ERBB2[0] else f"ERBB2, in the table as {gene},"
        if gene in usable:
            fate = "is among the genes that could be chosen: HER2 status can be read off it."
        elif {gene, symbol(gene)} & set(out):
            fate = "was left out: no network saw it."
        else:
            fate = "is not in the ranking: no network saw it."
        notes.append(f"{called} {fate}")
    return notes
