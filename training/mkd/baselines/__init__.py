"""What MKD is compared with."""

from __future__ import annotations

from napari_hmkd.training.mkd.baselines.abmil import Abmil
from napari_hmkd.training.mkd.baselines.base import Baseline, Sizes
from napari_hmkd.training.mkd.baselines.clam import ClamSb
from napari_hmkd.training.mkd.baselines.dsmil import Dsmil
from napari_hmkd.training.mkd.baselines.early import EarlyConcatenation
from napari_hmkd.training.mkd.baselines.mean import MeanPooling
from napari_hmkd.training.mkd.baselines.snn import Snn
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
