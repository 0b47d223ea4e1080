"""Attention without the N x N planes on a GPU, by Triton's kernels, which no GPU has run yet.

Convolving P = S softmax(S) and multiplying by the values are both linear, so that they change places:
the rows of each map gather the values beside each column, as far as the merging kernel reaches, and
that kernel merges what they gathered, which is (12, N, C) for a tile. So a row needs no other row of P,
and of the queries and keys those that its scores are convolved with.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch.nn import functional

from napari_hmkd.errors import DeviceError
from napari_hmkd.model.planes import MAPS, AttentionPlanes
from napari_hmkd.model.precision import float32_island
from napari_hmkd.model.row_blocks import HALO

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Which the kernels multiply; what they add up is float32."""

ROWS, COLUMNS, CHANNELS = 16, 64, 32
"""Sides of a program's blocks; of scores it holds a block of all four maps."""

WARPS = 8
"""Of a program. For bfloat16 ptxas gives each of their threads 169 registers of an H100; four would need
all 255. For float32 both spill some."""

LEAST_COLUMNS = 16
"""Which tensor cores multiply at once."""


def attend_by_triton(
    planes: AttentionPlanes,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    keep: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A v as `AttentionPlanes` in evaluation and `attend` define it, without gradients.

    Scores and A are those of float32 whatever the inputs; for A v, S softmax(S) is rounded to the
    values' dtype.

    Parameters
    ----------
    planes : AttentionPlanes
        Its norm answers with its running statistics, which are folded into the convolution anew at
        each call.
    query, key : torch.Tensor
        As `AttentionPlanes.forward` takes them, of one of `DTYPES`, on a CUDA device; on a CPU where
        Triton's interpreter runs (TRITON_INTERPRET=1 in the environment before triton is loaded).
    value : torch.Tensor
        (B, C, h, w).
    keep : bool
        Whether A itself is asked for; it is N x N for each tile.

    Returns
    -------
    tuple
        A v, float32 (B, C, h, w), and A, float32 (B, N, N) or None.

    Raises
    ------
    DeviceError
        If triton is not installed, or the tensors are on another device.
    """
    kernels = load_kernels()
    interpreted = not isinstance(kernels.gather_rows, kernels.triton.JITFunction)
    if key.device.type != ("cpu" if interpreted else "cuda"):
        raise DeviceError(
            f'asked for attention in the form "triton" on {key.device}, where its kernels do not run: '
            'move the network to a CUDA device, or choose the form "auto"'
        )
    channels, tokens = key.shape[1] // MAPS, key.shape[2] * key.shape[3]
    columns = min(COLUMNS, max(LEAST_COLUMNS, kernels.triton.next_power_of_2(tokens)))
    spare = -tokens % max(ROWS, columns)
    q, k = (_padded(x, channels, spare) for x in (query, key))
    v = _padded(value, value.shape[1], spare)
    batch, _, held, held_channels = k.shape
    row_blocks = kernels.triton.cdiv(tokens, ROWS)
    blocks = {"ROWS": ROWS, "COLUMNS": columns, "CHANNELS": CHANNELS, "QUERY_MAPS": q.shape[1]}
    options = {"WIDEN": interpreted, "num_warps": WARPS}
    with float32_island(key), torch.cuda.device_of(key):
        mix, bias = _folded(planes, channels)
        merge = planes.merge.weight.float().contiguous()
        gathered = mix.new_empty(batch, MAPS, 3, held, v.shape[3])
        largest, total = mix.new_zeros(batch, MAPS, held), mix.new_ones(batch, MAPS, held)
        kernels.gather_rows[row_blocks, v.shape[3] // CHANNELS, batch](
            q, k, v, mix, bias, gathered, largest, total, tokens, held, held_channels, v.shape[3],
            **blocks, **options,
        )  # fmt: skip
        gathered = gathered[..., HALO : HALO + tokens, : value.shape[1]]
        out = _merged(merge, gathered).unflatten(2, value.shape[2:])
        if not keep:
            return out, None
        attention = mix.new_empty(batch, tokens, tokens)
        kernels.merge_rows[row_blocks, kernels.triton.cdiv(tokens, columns), batch](
            q, k, mix, bias, merge, largest, total, attention, tokens, held, held_channels,
            **blocks, **options,
        )  # fmt: skip
        return out, attention


def load_kernels() -> ModuleType:
    """The module of the kernels.

    Raises
    ------
    DeviceError
        If triton, which it needs, is not installed.
    """
    try:
        from napari_hmkd.model import triton_kernels
    except ImportError as error:
        raise DeviceError(
            'asked for attention in the form "triton", but triton is not installed: install it (there '
            'is one for Linux: pip install triton), or choose the form "auto"'
        ) from error
    return triton_kernels


def _padded(x: torch.Tensor, channels: int, spare: int) -> torch.Tensor:
    """(B, maps C, h, w) -> (B, maps, tokens held, channels held), as the kernels take them."""
    tokens = x.unflatten(1, (-1, channels)).flatten(3).transpose(2, 3)
    return functional.pad(tokens, (0, -channels % CHANNELS, HALO, spare + HALO)).contiguous()


def _folded(planes: AttentionPlanes, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mixing convolution with its norm and the scale of the scores: (4, 4, 3, 3) and (4,)."""
    weight, bias = planes.folded_mix()
    return (weight * channels**-0.5).float().contiguous(), bias.float()


def _merged(merge: torch.Tensor, gathered: torch.Tensor) -> torch.Tensor:
    """Sum what the places of the merging kernel gathered: (B, 4, 3, N, C) -> (B, C, N)."""
    above, out, below = torch.einsum("mrc,bmcnd->rbdn", merge[0], gathered)
    out[..., 1:] += above[..., :-1]
    out[..., :-1] += below[..., 1:]
    return out
