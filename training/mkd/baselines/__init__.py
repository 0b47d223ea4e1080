"""What MKD is compared with."""

from __future__ import annotations

from napari_hmkd.training.mkd.baselines.base import Baseline, Sizes
from napari_hmkd.training.mkd.baselines.clam import ClamSb
from napari_hmkd.training.mkd.baselines.dsmil import Dsmil
from napari_hmkd.training.mkd.baselines.pooling import Abmil, MeanPooling
from napari_hmkd.training.mkd.baselines.snn import EarlyConcatenation, Snn
from napari_hmkd.training.mkd.baselines.transmil import TransMil

__all__ = ["BASELINES", "Baseline", "Sizes"]

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
