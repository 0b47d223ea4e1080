"""Attention over four maps whose scores are mixed by convolutions (METHOD.md section 1)."""

from __future__ import annotations

import torch
from torch import nn

MAPS = 4


class Float32(torch.autocast):
    """Switch autocast off for the device of a tensor: what follows is computed in float32."""

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__(device_type=tensor.device.type, enabled=False)


class AttentionPlanes(nn.Module):
    """Turn queries and keys into one attention matrix A, which is no probability.

    S = BN(Conv3x3_{4->4}(q k^T / sqrt(C))) over the (N, N) plane, A = Conv3x3_{4->1}(S softmax(S)).
    S softmax(S) is not bounded, so all of it is float32 whatever autocast says.
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
        with Float32(key):
            # (B, maps C, h, w) -> (B, maps, C, N)
            q = query.float().unflatten(1, (-1, channels)).flatten(3)
            k = key.float().unflatten(1, (MAPS, channels)).flatten(3)
            scores = (q * channels**-0.5).transpose(2, 3) @ k  # (B, 4, N, N)
            scores = self.norm(self.mix(scores))
            return self.merge(scores * scores.softmax(dim=-1)).squeeze(1)  # (B, N, N)


def attend(attention: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A v in float32: attention (B, N, N), value (B, C, h, w) -> (B, C, h, w)."""
    with Float32(value):
        # (B, C, N) @ (B, N queries, N keys)^T
        out = value.float().flatten(2) @ attention.transpose(1, 2)
    return out.unflatten(2, value.shape[2:])
