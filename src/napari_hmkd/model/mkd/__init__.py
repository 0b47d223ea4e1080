"""The three networks of MKD (METHOD.md section 2)."""

from __future__ import annotations

from napari_hmkd.model.mkd.card import BiomarkerCard, Target
from napari_hmkd.model.mkd.files import (
    MultimodalModel,
    load_biomarkers,
    load_multimodal,
    save_biomarkers,
)
from napari_hmkd.model.mkd.genomic import GenomicNetwork, build_genomic_network
from napari_hmkd.model.mkd.multimodal import MultimodalNetwork, build_multimodal_network
from napari_hmkd.model.mkd.outputs import MkdOutput
from napari_hmkd.model.mkd.pathology import PathologyNetwork, build_pathology_network

__all__ = [
    "BiomarkerCard",
    "GenomicNetwork",
    "MkdOutput",
    "MultimodalModel",
    "MultimodalNetwork",
    "PathologyNetwork",
    "Target",
    "build_genomic_network",
    "build_multimodal_network",
    "build_pathology_network",
    "load_biomarkers",
    "load_multimodal",
    "save_biomarkers",
]
