"""The ways to a network that are compared, and one run of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_hmkd.bags.bag import read_header
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.model.mkd.outputs import G, M, P
from napari_hmkd.training.mkd.approaches import ALONE, MKD, needs_genes
from napari_hmkd.training.mkd.bag_store import BagStore
from napari_hmkd.training.mkd.baselines import Sizes
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.config import (
    CaseComputeSettings,
    CaseTrainerSettings,
    GeneSettings,
    MkdRunSettings,
    MkdSettings,
)
from napari_hmkd.training.mkd.fold_run import CaseData, FoldRun
from napari_hmkd.training.mkd.folds import Fold, nested_folds
from napari_hmkd.training.mkd.selection import fit_selection
from napari_hmkd.training.splits import Indices

_PARTS = 5
CLASSES = 2


@dataclass(frozen=True)
class Approach:
    """A row, or with several networks several rows, of a table.

    Attributes
    ----------
    key : str
        In names of files.
    name : str
        As `training.mkd.approaches` has it: "mkd", "alone" or a baseline.
    titles : tuple of (str, str)
        Each network that is shown and what tables call it.
    terms : MkdSettings
        Weights of the loss of MKD.
    """

    key: str
    name: str
    titles: tuple[tuple[str, str], ...]
    terms: MkdSettings = field(default_factory=MkdSettings)


P_ALONE = Approach("alone", ALONE, ((P, "P alone"),))
FULL_MKD = Approach("mkd", MKD, ((P, "MKD: P"), (M, "MKD: M"), (G, "MKD: G")))
WITHOUT = (
    Approach(
        "mkd-without-coral-or",
        MKD,
        ((P, "MKD without L_CORAL + L_OR: P"),),
        MkdSettings(coral=0, orthogonality=0),
    ),
    Approach("mkd-without-skd", MKD, ((P, "MKD without L_SKD: P"),), MkdSettings(similarity=0)),
    Approach(
        "mkd-without-clod", MKD, ((P, "MKD without L_CLOD: P"),), MkdSettings(collaborative=0)
    ),
)
ABMIL = Approach("abmil", "abmil", (("abmil", "ABMIL"),))
SNN = Approach("snn", "snn", (("snn", "SNN on genes"),))
REFERENCE = P_ALONE.titles[0][1]


def divide(cases: Sequence[Case], test: Sequence[int], seed: int) -> Fold:
    """Test cases as given; of the others a fifth validates, stratified and by patient.

    Raises
    ------
    DataError
        If there are too few cases or patients.
    """
    rest: Indices = np.setdiff1d(np.arange(len(cases)), test)
    first = nested_folds([cases[index] for index in rest], _PARTS, seed)[0]
    validation = rest[first.test]
    return Fold(np.setdiff1d(rest, validation), validation, np.sort(np.asarray(test, np.intp)))


def make_run(
    folder: Path,
    approach: Approach,
    cases: Sequence[Case],
    test: Sequence[int],
    genes: GeneTable,
    engine: CaseTrainerSettings,
    top_genes: int,
    device: str,
    jobs: int = 1,
) -> FoldRun:
    """A run of an approach as `napari-hmkd-train mkd` would train it, with test cases as given.

    It is one of `jobs` at once, which share the machine's memory. Genes are chosen and scaled on its
    training cases when it begins.
    """
    settings = MkdRunSettings(
        mkd=approach.terms,
        genes=GeneSettings(top_genes=top_genes),
        engine=engine,
        compute=CaseComputeSettings(device=device, workers=1),
    )
    fold = divide(cases, test, engine.seed)

    def open_data() -> CaseData:
        tokens = None
        if needs_genes(approach.name):
            training = [cases[index].genes for index in fold.train]
            chosen = fit_selection(genes, training, top=top_genes)
            tokens = chosen.tokens(genes, [case.genes for case in cases])
        store = BagStore(settings.compute.memory_gb, jobs)
        return CaseData(cases, fold, tokens, settings, store)

    features = read_header(cases[0].bags[0]).features
    sizes = Sizes(features, settings.genes.token_genes, CLASSES)
    return FoldRun(folder, approach.name, sizes, settings, open_data)
