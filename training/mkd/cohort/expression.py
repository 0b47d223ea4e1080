"""Gene vectors of drawn patients: modules that follow a factor, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.sample.noise import derive_seed, hash_normal, hash_uniform
from napari_hmkd.training.mkd.cohort.design import FACTORS, CohortDesign
from napari_hmkd.training.mkd.cohort.factors import Factors

MODULES = ("shared", "genomic")
"""The modules that follow a factor of the patient; a gene's name begins with its module's."""
_ORDER, _LOADING, _SCALE, _NUISANCE, _NOISE = 83, 84, 85, 86, 87
# Means and standard deviations of genes, as of log2 expression.
_MEAN, _SPREAD_OF_MEANS = 6.0, 2.0
_LEAST_STD, _LARGEST_STD = 0.5, 1.5


@dataclass(frozen=True)
class GenePlan:
    """What each gene follows, in the order of the table.

    Attributes
    ----------
    names : tuple of str
    module : (genes,) int
        0 and 1: `MODULES`; from 2 on a nuisance; -1: noise.
    loading : (genes,) float
        Correlation of the gene with its module's factor; 0 for noise.
    """

    names: tuple[str, ...]
    module: NDArray[np.int64]
    loading: NDArray[np.float64]


def plan_genes(design: CohortDesign) -> GenePlan:
    """The genes of a design; their order in the table says nothing about them."""
    gene = np.arange(design.genes)
    order = np.argsort(hash_uniform(derive_seed(design.seed, _ORDER), gene))
    module = gene[order] // design.module_genes
    kinds = [
        *(name.upper() for name in MODULES),
        *(f"NUISANCE{k}-" for k in range(design.nuisance_modules)),
    ]
    module[module >= len(kinds)] = -1
    names = tuple(
        f"{kinds[kind] if kind >= 0 else 'NOISE'}{number:04d}"
        for kind, number in zip(module.tolist(), order.tolist(), strict=True)
    )
    key, (least, largest) = derive_seed(design.seed, _LOADING), design.loadings
    size = least + (largest - least) * hash_uniform(key, gene, 0)
    sign = np.where(hash_uniform(key, gene, 1) < 0.5, -1, 1)
    return GenePlan(names, module, np.where(module >= 0, size * sign, 0.0))


def draw_expression(design: CohortDesign, factors: Factors) -> NDArray[np.float32]:
    """(n, genes) log expression of patients, in the order of `plan_genes`."""
    plan = plan_genes(design)
    patient, gene = np.ogrid[: len(factors.hidden), : design.genes]
    nuisance = hash_normal(
        derive_seed(design.seed, _NUISANCE), patient, np.arange(design.nuisance_modules)
    )
    followed = factors.hidden[:, [FACTORS.index(name) for name in MODULES]]
    # The last column is what genes outside all modules follow, with loading 0.
    latent = np.column_stack((followed, nuisance, np.zeros(len(patient))))[:, plan.module]
    own = hash_normal(derive_seed(design.seed, _NOISE), patient, gene)
    unit = plan.loading * latent + np.sqrt(1 - plan.loading**2) * own
    key = derive_seed(design.seed, _SCALE)
    std = _LEAST_STD + (_LARGEST_STD - _LEAST_STD) * hash_uniform(key, gene, 0)
    return (_MEAN + _SPREAD_OF_MEANS * hash_normal(key, gene, 1) + std * unit).astype(np.float32)
