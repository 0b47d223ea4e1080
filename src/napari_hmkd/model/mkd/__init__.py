"""The three networks of MKD (METHOD.md section 2)."""

from __future__ import annotations

from napari_hmkd.model.mkd.card import BiomarkerCard, Target
from napari_hmkd.model.mkd.files import (
    MultimodalModel,
    load_biomarkers,
    load_multimodal,
    save_biomarkers,
)
from napari_hmkd.model.mkd.genomic import GenomicNetwork
from napari_hmkd.model.mkd.multimodal import MultimodalNetwork
from napari_hmkd.model.mkd.outputs import MkdOutput
from napari_hmkd.model.mkd.pathology import PathologyNetwork

__all__ = [
    "BiomarkerCard",
    "GenomicNetwork",
    "MkdOutput",
    "MultimodalModel",
    "MultimodalNetwork",
    "PathologyNetwork",
    "Target",
    "load_biomarkers",
    "load_multimodal",
    "save_biomarkers",
]
