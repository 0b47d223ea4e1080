"""The approaches that a run compares, and what each trains."""

from __future__ import annotations

from collections.abc import Sequence

from napari_hmkd.model.mkd import (
    build_genomic_network,
    build_multimodal_network,
    build_pathology_network,
)
from napari_hmkd.model.mkd.outputs import G, M, P
from napari_hmkd.training.mkd.baselines import BASELINES, Sizes
from napari_hmkd.training.mkd.config import MkdRunSettings, MkdSettings
from napari_hmkd.training.mkd.task import BaselineTask, CaseTask, MkdTask

MKD, ALONE = "mkd", "alone"
TITLES = {
    (MKD, P): "MKD, P (pathology alone)",
    (MKD, M): "MKD, M (both)",
    (MKD, G): "MKD, G (genes)",
    (ALONE, P): "P alone",
}
"""What a table calls an approach's networks; a baseline's name is its title."""
REFERENCE = TITLES[ALONE, P]
CROSS_ENTROPY_ALONE = MkdSettings(coral=0, orthogonality=0, similarity=0, collaborative=0)


def approaches(*, genes: bool, baselines: bool) -> tuple[str, ...]:
    """Names of all approaches that can be trained, with or without genes."""
    names = (MKD, ALONE) if genes else (ALONE,)
    usable = [name for name in BASELINES if genes or not BASELINES[name].needs_genes]
    return (*names, *usable) if baselines else names


def needs_genes(approach: str) -> bool:
    """Whether an approach is trained with genes."""
    if approach in (MKD, ALONE):
        return approach == MKD
    return BASELINES[approach].needs_genes


def titles(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Approach, network and title of every row of a table."""
    own = [(approach, network, text) for (approach, network), text in TITLES.items()]
    others = [(name, name, name) for name in names if name in BASELINES]
    return [row for row in (*own, *others) if row[0] in names]


def build_task(approach: str, sizes: Sizes, settings: MkdRunSettings) -> CaseTask:
    """The task of an approach; P begins with the same weights in both ways to train it."""
    if approach not in (MKD, ALONE):
        return BaselineTask(approach, BASELINES[approach](sizes), settings.optimiser)
    feature_dim, token_genes, classes = sizes.feature_dim, sizes.token_genes, sizes.classes
    pathology = build_pathology_network(feature_dim=feature_dim, classes=classes)
    if approach == ALONE:
        return MkdTask(pathology, None, None, CROSS_ENTROPY_ALONE, settings.optimiser)
    multimodal = build_multimodal_network(
        feature_dim=feature_dim, token_genes=token_genes, classes=classes
    )
    genomic = build_genomic_network(token_genes=token_genes, classes=classes)
    return MkdTask(pathology, multimodal, genomic, settings.mkd, settings.optimiser)
