"""The teacher: grades HER2 from registered H&E and IHC."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from napari_hmkd.model.attention_rows import Kept
from napari_hmkd.model.blocks import Head, initialise
from napari_hmkd.model.cross import CrossBlock
from napari_hmkd.model.gather import set_attention_form
from napari_hmkd.model.mixer import Stage
from napari_hmkd.model.outputs import TeacherAttention, TeacherOutput
from napari_hmkd.model.planes import AttentionForm
from napari_hmkd.model.sharing import beside
from napari_hmkd.model.stages import EMBEDDING, GRADES, PATCH_PX, check_tiles, stage_channels

DEPTHS = (2, 2, 6, 2)


class Teacher(nn.Module):
    """Two branches, crossed after each of three stages, summed before the last."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        sizes = list(zip((3, *channels[:-1]), channels, PATCH_PX, DEPTHS, strict=True))
        self.he_stages = nn.ModuleList(Stage(*size) for size in sizes[:-1])
        self.ihc_stages = nn.ModuleList(Stage(*size) for size in sizes[:-1])
        self.crossed = nn.ModuleList(CrossBlock(c) for c in channels[:-1])
        self.joint_stage = Stage(*sizes[-1])
        self.head = Head(channels[-1], EMBEDDING, GRADES)

    def forward(
        self, he: torch.Tensor, ihc: torch.Tensor, attention: Kept = False
    ) -> TeacherOutput:
        """Grade normalised, registered tiles.

        Parameters
        ----------
        he, ihc : torch.Tensor
            (B, 3, s, s) each, normalised as the model card says; s a multiple of 256 px.
        attention : bool or "rows"
            Also return the attention matrices of levels 0, 1, 2; N is (s / 32)^2, / 4, / 16. "rows"
            allows `AttentionRows` in place of large ones, with which `row_distance` saves memory.

        Raises
        ------
        ValueError
            If the tiles have another shape, or the stains differ in shape.
        """
        check_tiles(he)
        if ihc.shape != he.shape:
            raise ValueError(
                "H&E and IHC tiles are pairs and must have one shape, "
                f"got {tuple(he.shape)} and {tuple(ihc.shape)}"
            )
        he_matrices, ihc_matrices, maps = [], [], []
        for he_stage, ihc_stage, crossed in zip(
            self.he_stages, self.ihc_stages, self.crossed, strict=True
        ):
            stains = beside(partial(he_stage, he), partial(ihc_stage, ihc))
            he, ihc, he_matrix, ihc_matrix = crossed(*stains, attention)
            he_matrices.append(he_matrix)
            ihc_matrices.append(ihc_matrix)
            maps.append(he)
        maps.append(self.joint_stage(he + ihc))
        logits, pooled, embedding = self.head(maps[-1])
        matrices = TeacherAttention(tuple(he_matrices), tuple(ihc_matrices)) if attention else None
        return TeacherOutput(logits, pooled, embedding, tuple(maps), matrices)


def build_teacher(*, width: float = 1.0, attention_form: AttentionForm = "auto") -> Teacher:
    """A teacher with fresh weights.

    Parameters
    ----------
    width : float
        Of the channels; 1.0 is the published size (15.39 M parameters).
    attention_form : {"auto", "plain", "triton"}
        How it computes attention, which does not change its numbers: see `set_attention_form`.

    Raises
    ------
    ValueError
        If `width` is not above 0 and at most 8.
    DeviceError
        If "triton" is asked for, and not installed.
    """
    teacher = Teacher(stage_channels(width)).apply(initialise)
    set_attention_form(teacher, attention_form)
    return teacher
