"""What the two networks return."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from napari_hmkd.model.attention_rows import Level

Matrices = tuple[torch.Tensor, ...]
Levels = tuple[Level, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StudentOutput:
    """What the student says about a batch of H&E tiles.

    Attributes
    ----------
    logits : torch.Tensor
        (B, 4), before softmax and temperature.
    pooled : torch.Tensor
        (B, channels of the last stage), 448 at the published width; timm's networks have their own.
    embedding : torch.Tensor
        (B, 128), not negative; of timm's networks, which have no such layer, the pooled features.
    maps : tuple of torch.Tensor
        Feature maps at the end of each of the four stages, (B, C, h, w) each, finest first; after
        the distilled block where there is one.
    attention : tuple of torch.Tensor or None
        Where asked for: the raw matrices A of levels 0, 1, 2, each float32 (B, N, N), rows the
        query tokens, columns the key tokens. Rows do not sum to one; values may be negative. Where
        "rows" were asked for, `AttentionRows` may stand for them.
    """

    logits: torch.Tensor
    pooled: torch.Tensor
    embedding: torch.Tensor
    maps: tuple[torch.Tensor, ...]
    attention: Levels | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TeacherAttention:
    """The teacher's cross-attention matrices of levels 0, 1, 2, each float32 (B, N, N).

    Attributes
    ----------
    he : tuple of torch.Tensor
        Rows are IHC query tokens, columns H&E key tokens; the student learns these.
    ihc : tuple of torch.Tensor
        Rows are H&E query tokens, columns IHC key tokens.
    """

    he: Levels
    ihc: Levels


@dataclass(frozen=True, slots=True, eq=False)
class TeacherOutput:
    """What the teacher says about a batch of registered H&E and IHC tiles.

    The fields are those of `StudentOutput`, with the attention of both stains. The first three
    `maps` are the H&E branch's, the last is that of the joint stage.
    """

    logits: torch.Tensor
    pooled: torch.Tensor
    embedding: torch.Tensor
    maps: tuple[torch.Tensor, ...]
    attention: TeacherAttention | None = None
