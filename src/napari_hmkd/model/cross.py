"""The blocks whose attention is distilled: crossed in the teacher, within H&E in the student."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from napari_hmkd.model.attention_rows import Kept, Level
from napari_hmkd.model.blocks import NormedMlp, Projection, SeparableConv
from napari_hmkd.model.gather import gather
from napari_hmkd.model.planes import MAPS, AttentionPlanes
from napari_hmkd.model.precision import float32_island
from napari_hmkd.model.sharing import beside


class StainAttention(nn.Module):
    """One stain's side of an attention block: its norms, its q, k and v, its planes, its MLP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.query = SeparableConv(channels, channels)
        self.key = SeparableConv(channels, MAPS * channels)
        self.value = SeparableConv(channels, channels)
        self.planes = AttentionPlanes()
        self.project = Projection(channels)
        self.mlp_norm = nn.BatchNorm2d(channels)
        self.mlp = NormedMlp(channels)

    def attended(
        self, normed: torch.Tensor, query: torch.Tensor, keep: Kept
    ) -> tuple[torch.Tensor, Level | None]:
        """What `query` gathers from this stain.

        Parameters
        ----------
        normed : torch.Tensor
            (B, C, h, w), this stain after `norm`.
        query : torch.Tensor
            (B, C, h, w), from either stain.
        keep : bool or "rows"
            Whether A is asked for, and whether `AttentionRows` will do.

        Returns
        -------
        tuple
            The projected A v, (B, C, h, w), and A, (B, N, N), or None.
        """
        out, attention = gather(self.planes, query, self.key(normed), self.value(normed), keep)
        with float32_island(out):
            return self.project(out), attention


class CrossBlock(nn.Module):
    """The teacher's block: each stain is asked by the other one's queries."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.he = StainAttention(channels)
        self.ihc = StainAttention(channels)

    def forward(
        self, he: torch.Tensor, ihc: torch.Tensor, keep: Kept
    ) -> tuple[torch.Tensor, torch.Tensor, Level | None, Level | None]:
        """Both stains (B, C, h, w) -> both stains, then A of H&E and of IHC (B, N, N), if to keep."""
        he_normed, ihc_normed = self.he.norm(he), self.ihc.norm(ihc)
        he_query, ihc_query = self.he.query(he_normed), self.ihc.query(ihc_normed)
        (he_gain, he_attention), (ihc_gain, ihc_attention) = beside(
            partial(self.he.attended, he_normed, ihc_query, keep),
            partial(self.ihc.attended, ihc_normed, he_query, keep),
        )
        he, ihc = he + he_gain, ihc + ihc_gain
        he = he + self.he.mlp(self.he.mlp_norm(he))
        ihc = ihc + self.ihc.mlp(self.ihc.mlp_norm(ihc))
        return he, ihc, he_attention, ihc_attention


class DistilledBlock(nn.Module):
    """The student's block: H&E asks itself, and its attention is to match the teacher's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.he = StainAttention(channels)

    def forward(self, he: torch.Tensor, keep: Kept) -> tuple[torch.Tensor, Level | None]:
        """H&E (B, C, h, w) -> H&E, and its A (B, N, N), if it is to be kept."""
        normed = self.he.norm(he)
        # The published student feeds the MLP the block's input, not the attention's output.
        (gain, attention), answer = beside(
            lambda: self.he.attended(normed, self.he.query(normed), keep),
            lambda: self.he.mlp(self.he.mlp_norm(he)),
        )
        return he + gain + answer, attention
