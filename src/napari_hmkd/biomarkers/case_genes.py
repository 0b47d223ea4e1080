"""A slide's genes: which row of a table they are, and how M of a model takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_hmkd.biomarkers.attributes import bag_name
from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.genes.matching import rows_meant
from napari_hmkd.genes.names import listed
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.grading import file_sha256
from napari_hmkd.model.mkd.card import BiomarkerCard
from napari_hmkd.model.mkd.files import MultimodalModel, load_multimodal

MOST_DEVIATIONS = 5
"""The median gene of a case that lies further from the training cases is hardly on their scale."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseGenes:
    """The genes of one slide, or why it has none.

    Attributes
    ----------
    file, sha256 : str
        The table's name, without its folder, and hash.
    row : str
        Whose they are, as the table has it; "" where there are none.
    missing : str
        Why there are none, as a clause; "" where there are.
    warning : str
        As `GeneSource.scale_warning` has it.
    models : mapping of str to MultimodalModel
        M by target; empty where there are none.
    tokens : mapping of str to numpy.ndarray
        What M takes, by target: float32 (1, tokens, token_genes).
    """

    file: str
    sha256: str
    row: str = ""
    missing: str = ""
    warning: str = ""
    models: Mapping[str, MultimodalModel] = field(default_factory=dict)
    tokens: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class GeneSource:
    """A table of genes that a model can use.

    Attributes
    ----------
    table : GeneTable
    file, sha256 : str
        As of `CaseGenes`.
    models : mapping of str to MultimodalModel
        M of each of the model's targets.
    row : str
        That of the case that somebody named; "" where slides' names tell.
    """

    table: GeneTable
    file: str
    sha256: str
    models: Mapping[str, MultimodalModel]
    row: str = ""

    def of_slide(self, slide_name: str) -> CaseGenes:
        """The genes of a slide: of the one row that its name means, see `rows_meant`."""
        if self.row:
            return self._of_row(self.row)
        name = bag_name(slide_name)
        (rows,) = rows_meant((), (name,), self.table.cases).values()
        if len(rows) == 1:
            return self._of_row(rows[0])
        return CaseGenes(self.file, self.sha256, missing=_problem(self.file, name, rows))

    def _of_row(self, row: str) -> CaseGenes:
        tokens = {name: one.genes.tokens(self.table, [row]) for name, one in self.models.items()}
        warning = self.scale_warning([row])
        return CaseGenes(
            self.file, self.sha256, row, warning=warning, models=self.models, tokens=tokens
        )

    def scale_warning(self, rows: Sequence[str]) -> str:
        """A sentence about rows that are hardly on the scale of training; "" where there are none."""
        deviations = np.max(
            [one.genes.median_deviations(self.table, rows) for one in self.models.values()], axis=0
        )
        far = {
            row: least
            for row, least in zip(rows, deviations, strict=True)
            if least > MOST_DEVIATIONS
        }
        if not far:
            return ""
        return (
            f"half of the genes of {listed(far)} in {self.file} lie more than {min(far.values()):.0f} standard "
            "deviations from the training cases: is the table on the scale of training, such as a logarithmic one?"
        )


def open_genes(path: Path, model_path: Path, card: BiomarkerCard, case: str = "") -> GeneSource:
    """Read a table of genes, and M of the model that is to use it.

    Parameters
    ----------
    path : pathlib.Path
        As `read_genes` takes it.
    model_path : pathlib.Path
        Weights of a biomarker model.
    card : BiomarkerCard
        Theirs.
    case : str
        Whose genes all slides have; "" where their names tell.

    Raises
    ------
    ModelError
        If the model has no M, or it cannot be read.
    DataError
        If the table cannot be read, names a case or a gene twice, lacks genes that M was trained on, or does
        not tell which row is the case's.
    """
    # It brings pandas, which nothing needs without genes.
    from napari_hmkd.genes.reading import read_genes

    if not card.takes_genes:
        raise ModelError(
            f"asked to use the genes of {path.name} with {card.name}, whose file holds P alone, the network that "
            "needs no genes; leave the table out, or choose a model that was trained with --genes"
        )
    table, models = read_genes(path), load_multimodal(model_path, card)
    for one in models.values():
        try:
            one.genes.require_in(table)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    row = _row_of_case(table, path.name, case) if case else ""
    return GeneSource(table, path.name, file_sha256(path), models, row)


def _row_of_case(table: GeneTable, file: str, case: str) -> str:
    (rows,) = rows_meant((case,), (), table.cases).values()
    if len(rows) != 1:
        raise DataError(
            f"asked for the genes of the case {case}, but {_problem(file, case, rows)}; name it as the table does, "
            f"such as {listed(rows or table.cases[:3])}"
        )
    return rows[0]


def _problem(file: str, name: str, rows: Sequence[str]) -> str:
    found = f"{len(rows)} rows that may be meant by" if rows else "no row of genes for"
    return f"{file} has {found} {name}"
