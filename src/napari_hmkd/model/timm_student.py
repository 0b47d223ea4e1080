"""Networks of timm (Wightman 2019, doi 10.5281/zenodo.4414861) in the student's role."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_hmkd.errors import ModelError
from napari_hmkd.model.outputs import StudentOutput
from napari_hmkd.model.precision import float32_island
from napari_hmkd.model.shapes import answer_shapes
from napari_hmkd.model.stages import GRADES, check_tiles
from napari_hmkd.model.tensors import check_tensors
from napari_hmkd.model.timm_networks import PREFIX, create, read_weights, refusals

STAGES = 4
_REFUSAL = (
    "cannot be the student ({reason}): it must give four feature maps and have one linear classifier, as "
    "resnet18, convnext_tiny or vit_small_patch16_224 do"
)


class TimmStudent(nn.Module):
    """A network of timm that grades H&E tiles; it has no attention matrices.

    `pooled` is what its classifier sees, and `embedding` the same. The four maps are the ends of
    its last four stages, or of the quarters of a network without stages (ViT).

    Attributes
    ----------
    architecture : str
        "timm:NAME", as model cards say it.
    """

    def __init__(self, name: str, backbone: Any) -> None:
        super().__init__()
        self.architecture = PREFIX + name
        self.backbone = backbone
        self._ends = _stage_ends(backbone.feature_info)

    def pretrained_normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std, as on a model card, of the tiles that timm's weights for it expect."""
        config = self.backbone.pretrained_cfg
        return tuple(config["mean"]), tuple(config["std"])

    def forward(self, he: torch.Tensor, attention: bool = False) -> StudentOutput:
        """Grade normalised H&E tiles.

        Parameters
        ----------
        he : torch.Tensor
            (B, 3, s, s), normalised as the model card says; s a multiple of 256 px.
        attention : bool
            Refused.

        Raises
        ------
        ModelError
            If attention is asked for.
        ValueError
            If the tiles have another shape.
        """
        if attention:
            raise ModelError(
                f"asked where the student looks, but {self.architecture} has no attention "
                "matrices: choose a student of this project's own architecture"
            )
        check_tiles(he)
        features, maps = self.backbone.forward_intermediates(
            he, indices=self._ends, output_fmt="NCHW"
        )
        pooled = self.backbone.forward_head(features, pre_logits=True)
        with float32_island(he):
            logits = self.backbone.get_classifier()(pooled.float())
        return StudentOutput(logits, pooled, pooled, tuple(maps))


def build_timm_student(name: str, weights: Path | None = None, *, tile_px: int) -> TimmStudent:
    """A student with fresh weights, or with those of a local file; nothing is downloaded.

    Parameters
    ----------
    name : str
        Of timm's networks, such as "resnet18"; "timm:resnet18" is the same.
    weights : Path, optional
        timm's weights for this network (.safetensors, .pth, .bin). A classifier of other classes
        is left out, with a warning.
    tile_px : int
        Side of the tiles. Position tables (ViT, Swin) are made for it.

    Raises
    ------
    ModelError
        If there is no such network, it cannot serve as a student, or the file does not fit it.
    """
    name = name.removeprefix(PREFIX)
    backbone = create(name, _REFUSAL, num_classes=GRADES)
    if weights is not None:
        backbone.load_state_dict(_weights_for(backbone, weights))
    student = _fit(name, backbone, tile_px)
    with refusals(name, _REFUSAL):
        found = answer_shapes(student, tile_px)
        if found.logits.shape != (1, GRADES) or len(found.maps) != STAGES:
            raise ValueError(f"it answers a tile with the shape {tuple(found.logits.shape)}")
    return student


def blank_timm_student(name: str, tile_px: int) -> TimmStudent:
    """One that has been built before, with weights of no meaning; draws no random numbers.

    Raises
    ------
    ModelError
        If there is no such network, or it cannot serve as a student.
    """
    # Not on the meta device: a file holds no buffers that timm computes when it builds.
    with torch.random.fork_rng(devices=[]):
        return _fit(name, create(name, _REFUSAL, num_classes=GRADES), tile_px)


def _fit(name: str, backbone: Any, tile_px: int) -> TimmStudent:
    """Make a student of a network, for tiles of one size."""
    with refusals(name, _REFUSAL):
        if hasattr(backbone, "set_input_size"):
            backbone.set_input_size(img_size=(tile_px, tile_px))
        return TimmStudent(name, backbone)


def _stage_ends(stages: Sequence[dict[str, Any]]) -> list[int]:
    """Indices of the four feature maps to take."""
    count = len(stages)
    if count < STAGES:
        raise ValueError(f"it has {count} stages")
    if len({stage["reduction"] for stage in stages}) == 1:  # blocks on one grid
        return [count * quarter // STAGES - 1 for quarter in range(1, STAGES + 1)]
    return list(range(count - STAGES, count))


def _weights_for(backbone: Any, path: Path) -> dict[str, torch.Tensor]:
    """A file's tensors, with the network's own classifier where the file's is another."""
    tensors, own = read_weights(path), backbone.state_dict()
    classifier = backbone.pretrained_cfg.get("classifier")
    names = [f"{classifier}.{part}" for part in ("weight", "bias")]
    left_out = [name for name in names if name in own and not _same_shape(tensors, own, name)]
    if left_out:
        logging.getLogger(__name__).warning(
            "%s: the classifier is not for %d grades, so %s start afresh",
            path,
            GRADES,
            " and ".join(left_out),
        )
    tensors |= {name: own[name] for name in left_out}
    check_tensors(tensors, own, str(path))
    return tensors


def _same_shape(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], name: str) -> bool:
    return name in a and a[name].shape == b[name].shape
