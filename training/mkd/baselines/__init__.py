"""What MKD is compared with."""

from __future__ import annotations

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.baselines.abmil import Abmil
from napari_hmkd.training.mkd.baselines.base import Baseline, Sizes
from napari_hmkd.training.mkd.baselines.clam import ClamSb
from napari_hmkd.training.mkd.baselines.dsmil import Dsmil
from napari_hmkd.training.mkd.baselines.early import EarlyConcatenation
from napari_hmkd.training.mkd.baselines.mean import MeanPooling
from napari_hmkd.training.mkd.baselines.snn import Snn
from napari_hmkd.training.mkd.baselines.transmil import TransMil

__all__ = ["BASELINES", "PUBLISHED_TOKENS", "Baseline", "build_baseline"]

BASELINES: dict[str, type[Baseline]] = {
    "mean": MeanPooling,
    "abmil": Abmil,
    "clam-sb": ClamSb,
    "transmil": TransMil,
    "dsmil": Dsmil,
    "snn": Snn,
    "early": EarlyConcatenation,
}
"""By name, in the order of tables."""
PUBLISHED_TOKENS = 16


def build_baseline(
    name: str,
    *,
    feature_dim: int,
    token_genes: int,
    classes: int,
    tokens: int = PUBLISHED_TOKENS,
) -> Baseline:
    """A baseline with fresh weights.

    Parameters
    ----------
    name : str
        One of `BASELINES`.
    feature_dim : int
        Length of a patch's features.
    token_genes, tokens : int
        Genes of a case: so many tokens of so many.
    classes : int
        Number of logits.

    Raises
    ------
    DataError
        If there is no such baseline.
    """
    if name not in BASELINES:
        raise DataError(f"asked for the baseline {name!r}: choose from {', '.join(BASELINES)}")
    return BASELINES[name](Sizes(feature_dim, tokens, token_genes, classes))
