"""Attention over four maps whose scores are mixed by convolutions (METHOD.md section 1)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.model.precision import float32_island

MAPS = 4
SCORE_LIMIT = 1e4
"""Largest score S. The reference networks and the demo student on its own tissue stay below 1. On
tissue unlike any seen in training a block answers with the third power of what is too large, and
without a limit the next ones overflow float32; the softmax has settled on one key long before."""


class AttentionPlanes(nn.Module):
    """Turn queries and keys into one attention matrix A, which is no probability.

    S = BN(Conv3x3_{4->4}(q k^T / sqrt(C))) over the (N, N) plane, A = Conv3x3_{4->1}(S softmax(S)).
    S softmax(S) has no bound in the published form, so all of it is float32 whatever autocast says,
    and S is limited to `SCORE_LIMIT`, which the published networks never come near.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(MAPS, MAPS, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(MAPS)
        self.merge = nn.Conv2d(MAPS, 1, 3, padding=1, bias=False)

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Attention of queries to keys.

        Parameters
        ----------
        query : torch.Tensor
            (B, 4 C, h, w), or (B, C, h, w) for one map that serves all four of the keys.
        key : torch.Tensor
            (B, 4 C, h, w), map-major.

        Returns
        -------
        torch.Tensor
            float32 (B, N, N) with N = h w, rows the queries.
        """
        channels = key.shape[1] // MAPS
        with float32_island(key):
            # (B, maps C, h, w) -> (B, maps, C, N)
            q = query.float().unflatten(1, (-1, channels)).flatten(3)
            k = key.float().unflatten(1, (MAPS, channels)).flatten(3)
            scores = (q * channels**-0.5).transpose(2, 3) @ k  # (B, 4, N, N)
            scores = self.norm(_convolve(self.mix, scores)).clamp(-SCORE_LIMIT, SCORE_LIMIT)
            scores = scores * scores.softmax(dim=-1)
            return _convolve(self.merge, scores).squeeze(1)  # (B, N, N)


def attend(attention: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A v in float32: attention (B, N, N), value (B, C, h, w) -> (B, C, h, w)."""
    with float32_island(value):
        # (B, C, N) @ (B, N queries, N keys)^T
        out = value.float().flatten(2) @ attention.transpose(1, 2)
    return out.unflatten(2, value.shape[2:])


def _convolve(conv: nn.Conv2d, planes: torch.Tensor) -> torch.Tensor:
    """Apply a convolution to planes (B, 4, N, N), on a CPU in the memory order it is fast in."""
    if planes.device.type != "cpu":
        return conv(planes)
    # Four channels fill no vector in the default order: backwards is five times slower there.
    last = torch.channels_last
    weight = conv.weight.contiguous(memory_format=last)
    return functional.conv2d(planes.contiguous(memory_format=last), weight, padding=1).contiguous()
