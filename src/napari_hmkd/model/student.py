"""The student: grades HER2 from H&E alone."""

from __future__ import annotations

import torch
from torch import nn

from napari_hmkd.model.attention_rows import Kept
from napari_hmkd.model.blocks import Head, initialise
from napari_hmkd.model.cross import DistilledBlock
from napari_hmkd.model.gather import set_attention_form
from napari_hmkd.model.mixer import Stage
from napari_hmkd.model.outputs import StudentOutput
from napari_hmkd.model.planes import AttentionForm
from napari_hmkd.model.stages import EMBEDDING, GRADES, PATCH_PX, check_tiles, stage_channels

DEPTHS = (2, 2, 2, 2)


class Student(nn.Module):
    """H&E network: four stages, with a distilled attention block after each of the first three."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        inputs = (3, *channels[:-1])
        self.stages = nn.ModuleList(
            map(Stage, inputs, channels, PATCH_PX, DEPTHS),
        )
        self.distilled = nn.ModuleList(DistilledBlock(c) for c in channels[:-1])
        self.head = Head(channels[-1], EMBEDDING, GRADES)

    def forward(self, he: torch.Tensor, attention: Kept = False) -> StudentOutput:
        """Grade normalised H&E tiles.

        Parameters
        ----------
        he : torch.Tensor
            (B, 3, s, s), normalised as the model card says; s a multiple of 256 px.
        attention : bool or "rows"
            Also return the attention matrices of levels 0, 1, 2; N is (s / 32)^2, / 4, / 16. "rows"
            allows `AttentionRows` in place of large ones, with which `row_distance` saves memory.

        Raises
        ------
        ValueError
            If the tiles have another shape.
        """
        check_tiles(he)
        x, matrices, maps = he, [], []
        *stages, last = self.stages
        for stage, distilled in zip(stages, self.distilled, strict=True):
            x, matrix = distilled(stage(x), attention)
            matrices.append(matrix)
            maps.append(x)
        maps.append(last(x))
        logits, pooled, embedding = self.head(maps[-1])
        kept = tuple(matrices) if attention else None
        return StudentOutput(logits, pooled, embedding, tuple(maps), kept)


def build_student(*, width: float = 1.0, attention_form: AttentionForm = "auto") -> Student:
    """A student with fresh weights.

    Parameters
    ----------
    width : float
        Of the channels; 1.0 is the published size (7.89 M parameters).
    attention_form : {"auto", "plain", "triton"}
        How it computes attention, which does not change its numbers: see `set_attention_form`.

    Raises
    ------
    ValueError
        If `width` is not above 0 and at most 8.
    DeviceError
        If "triton" is asked for, and not installed.
    """
    student = Student(stage_channels(width)).apply(initialise)
    set_attention_form(student, attention_form)
    return student
