"""Rankings of genes, such as by the p-value of a Cox model."""

from __future__ import annotations

import re
from pathlib import Path

from napari_hmkd.errors import DataError
from napari_hmkd.genes.names import require_unique
from napari_hmkd.genes.reading import SYMBOL
from napari_hmkd.genes.tables import read_lines

HEADINGS = ("gene", "genes", "symbol", SYMBOL.lower())
"""First lines that are no gene, in small letters."""


def read_ranking(path: Path) -> list[str]:
    """The genes of a ranking, one a line, the most telling first.

    What follows a comma, semicolon or tab is not looked at, so that a table of genes and p-values
    that is sorted will do. A heading such as `gene` may come first.

    Raises
    ------
    DataError
        If the file cannot be read, has no gene, or one twice.
    """
    names = [re.split("[,;\t]", line, maxsplit=1)[0] for line in read_lines(path)]
    genes = [name.strip().strip('"') for name in names]
    if genes and genes[0].lower() in HEADINGS:
        del genes[0]
    genes = [gene for gene in genes if gene]
    if not genes:
        raise DataError(f"{path} ranks no gene: it needs one a line, the most telling first")
    require_unique(genes, "ranked genes", path)
    return genes
