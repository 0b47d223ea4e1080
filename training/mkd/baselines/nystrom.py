"""Self-attention whose cost grows with the number of tokens, not with its square."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.bags.packing import PackedBags, mean_within
from napari_hmkd.model.precision import float32_island, widened

HEADS = 8
LANDMARKS = 256
ITERATIONS = 6
KERNEL = 33
DROPOUT = 0.1


class NystromAttention(nn.Module):
    """Attention through landmarks, plus a depthwise convolution of the values along the tokens.

    Xiong, Zeng, Chakraborty et al., AAAI 2021, arXiv 2102.03902. Landmarks are means of runs of
    neighbouring tokens, whose lengths differ by one at most: the published program fills up with
    zeros instead, which draw attention. Of no more tokens than landmarks the attention is exact, as
    far as the inverse is.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        # One kernel for each head.
        self.residual = nn.Conv1d(HEADS, HEADS, KERNEL, padding="same", groups=HEADS, bias=False)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, width)."""
        # (n, 2 width) and (n, width)
        query_key, value = self.query_key_value(tokens).tensor_split([2 * tokens.shape[1]], dim=1)
        runs = PackedBags(query_key, _runs(len(tokens), tokens.device))
        # (1, heads, n, d) each, and of m landmarks (1, heads, m, d)
        query, key, value = map(_heads, (*query_key.chunk(2, dim=1), value))
        short_query, short_key = map(_heads, mean_within(query_key, runs).chunk(2, dim=1))
        attend = functional.scaled_dot_product_attention
        gathered = attend(short_query, key, value)  # (1, heads, m, d)
        with float32_island(tokens):
            inverse = pseudo_inverse(_weights(short_query, short_key))
            spread = inverse @ gathered.to(inverse.dtype)
        attended = attend(query, short_key, spread.to(query.dtype))  # (1, heads, n, d)
        # The convolution runs along n, with d as its batch: (d, heads, n).
        along = self.residual(value[0].permute(2, 0, 1)).permute(1, 2, 0)
        return self.dropout(self.project((attended[0] + along).transpose(0, 1).flatten(1)))


def pseudo_inverse(matrices: torch.Tensor) -> torch.Tensor:
    """Moore-Penrose inverse of attention matrices (..., m, m), by iteration.

    Razavi, Kerayechian, Gachpazan, Shateyi 2014, doi 10.1155/2014/563787, as in the paper above.
    """
    columns, rows = matrices.abs().sum(dim=-2), matrices.abs().sum(dim=-1)
    scale = columns.amax(dim=-1) * rows.amax(dim=-1)
    inverse = matrices.mT / scale[..., None, None]
    one = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    for _ in range(ITERATIONS):
        product = matrices @ inverse
        inverse = inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product))) / 4
    return inverse


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(n, width) -> (1, heads, n, width / heads); fused attention asks for a batch."""
    return x.unflatten(1, (HEADS, -1)).transpose(0, 1)[None]


def _weights(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Attention (1, heads, m, m), at least float32."""
    scores = widened(query) @ widened(key).mT
    return (scores / query.shape[-1] ** 0.5).softmax(dim=-1)


def _runs(tokens: int, device: torch.device) -> torch.Tensor:
    """Offsets of as many runs of tokens as there are landmarks."""
    landmarks = min(tokens, LANDMARKS)
    return torch.arange(landmarks + 1, device=device) * tokens // landmarks
