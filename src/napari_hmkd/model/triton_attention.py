"""Attention without the N x N planes on a GPU, by Triton's kernels.

The convolution that mixes scores is linear in the keys, and the one that merges P = S softmax(S) in the
values, so that both are folded into these, for each row of the 3 x 3 kernels apart:

    S_o[i, j] = sum_r q[i + r] . k'_or[j],    k'_or[j] = sum_d w[o, r, d] k[j + d]
    (A v)[i] = sum_or P_o[i + r] v'_or,       v'_or[j] = sum_d u[o, r, d] v[j - d]

What is left for the planes is a product, the softmax of a row, and another product.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch
from torch.nn import functional

from napari_hmkd.errors import DeviceError
from napari_hmkd.model.planes import MAPS, AttentionPlanes, attend
from napari_hmkd.model.precision import float32_island

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Which the kernels multiply."""

ROWS, COLUMNS, STEP = 64, 64, 32
"""Sides of a program's blocks, and of what a product of matrices takes at once."""

MOST_CHANNELS = 64
"""Of values, that a program gathers."""

WARPS = 4

FOLDED_TOKENS, FOLDED_CHANNELS = 64, 32
"""Sides of a block that a program folds."""

CAPABLE = (8, 0)
"""Compute capability since which GPUs multiply bfloat16, and float32 in parts."""

TOLERANCE = 2e-2
"""Of the largest value: bfloat16 was 4e-3 off on an H100."""

LEAST = 16
"""Which tensor cores multiply at once."""


def attend_by_triton(
    planes: AttentionPlanes, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """A v as `AttentionPlanes` in evaluation and `attend` define it, without gradients.

    Scores are those of float32; folded keys and values, and S softmax(S), are rounded to the dtype of
    the inputs.

    Parameters
    ----------
    planes : AttentionPlanes
        Its norm answers with its running statistics.
    query, key : torch.Tensor
        As `AttentionPlanes.forward` takes them, of one of `DTYPES`, on a CUDA device; on a CPU where
        Triton's interpreter runs (TRITON_INTERPRET=1 in the environment before triton is loaded).
    value : torch.Tensor
        (B, C, h, w).

    Returns
    -------
    torch.Tensor
        float32 (B, C, h, w).

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
    triton, norm, tokens = kernels.triton, planes.norm, key.shape[2] * key.shape[3]
    channels, queried, valued = (x.shape[1] for x in (key, query, value))
    depth = triton.cdiv(queried, STEP) * STEP
    with float32_island(key), torch.cuda.device_of(key):
        # (B, C, h, w) -> (B, N + 2, C), a token before the first and one after the last
        q = functional.pad(
            query.flatten(2).transpose(1, 2), (0, depth - queried, 1, 1)
        ).contiguous()
        k = _folded(kernels, key, planes.mix.weight, channels // MAPS, queried, depth)
        v = _folded(kernels, value, planes.merge.weight, valued, valued, valued)
        gathered = torch.empty(v.shape, dtype=torch.float32, device=v.device)
        wide = min(MOST_CHANNELS, max(LEAST, triton.next_power_of_2(valued)))
        blocks = triton.cdiv(tokens, ROWS), MAPS * triton.cdiv(valued, wide), len(key)
        kernels.gather_rows[blocks](
            q, k, v, norm.weight, norm.bias, norm.running_mean, norm.running_var, gathered, tokens,
            tokens + 2, valued, (channels // MAPS) ** -0.5, norm.eps, DEPTH=3 * depth, ROWS=ROWS,
            COLUMNS=min(COLUMNS, max(LEAST, triton.next_power_of_2(tokens))), STEP=STEP, CHANNELS=wide,
            WIDEN=interpreted, num_warps=WARPS, num_stages=2 if key.dtype == torch.float32 else 3,
        )  # fmt: skip
        return _merged(gathered).transpose(1, 2).unflatten(2, value.shape[2:])


@cache
def runs_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this is a CUDA device on which the kernels can be compiled, and give the right numbers.

    That takes triton, which torch brings along for Linux, a C compiler and Python's headers.
    """
    if dtype not in DTYPES or device.type != "cuda" or find_spec("triton") is None:
        return False
    if torch.cuda.get_device_capability(device) < CAPABLE:
        return False
    return gives_their_numbers(device, dtype)


def gives_their_numbers(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether kernels on a device give the numbers of whole planes, of a few tokens; else the log says why.

    Raises
    ------
    torch.OutOfMemoryError
        If the device is full, which says nothing of the kernels: whole planes would need far more.
    """
    with torch.random.fork_rng(devices=()):
        planes = AttentionPlanes().eval().to(device)
    query, key, value = (
        torch.arange(16.0 * count * LEAST, device=device).sin().view(1, -1, 4, 4).to(dtype)
        for count in (1, MAPS, 1)
    )
    try:
        with torch.no_grad():
            found, wanted = (
                attend_by_triton(planes, query, key, value),
                attend(planes(query, key), value),
            )
        error = ((found - wanted).abs().max() / wanted.abs().max()).item()
        if not error < TOLERANCE:
            raise DeviceError(f"they are {error:.1g} off")
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # those of triton and of compilers have no class in common
        logging.getLogger(__name__).warning(
            "attention on %s in %s goes by whole planes, which takes several times as long, because "
            "Triton's kernels do not work here: %s",
            device,
            dtype,
            error,
        )
        return False
    return True


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


def _folded(
    kernels: ModuleType,
    x: torch.Tensor,
    weight: torch.Tensor,
    per_map: int,
    channels: int,
    held: int,
) -> torch.Tensor:
    """(B, maps C, h, w), with a kernel of (4, maps, 3, 3) or (1, 4, 3, 3) -> (B, 4, N, 3, held)."""
    flat = x.flatten(2)
    tokens, merges = flat.shape[2], len(weight) == 1
    folded = flat.new_empty(len(x), MAPS, tokens, 3, held)
    grid = (
        kernels.triton.cdiv(tokens, FOLDED_TOKENS), kernels.triton.cdiv(held, FOLDED_CHANNELS), len(x),
    )  # fmt: skip
    kernels.fold[grid](
        flat, weight.float().contiguous(), folded, tokens, flat.stride(0), flat.stride(2), flat.stride(1),
        per_map, channels, held, OUT_STRIDE=9 if merges else 9 * MAPS, SUMMED=x.shape[1] // channels,
        FORWARD=not merges, TOKENS=FOLDED_TOKENS, CHANNELS=FOLDED_CHANNELS,
    )  # fmt: skip
    return folded


def _merged(gathered: torch.Tensor) -> torch.Tensor:
    """Sum what rows of the merging kernel gathered: (B, 4, N, 3, C) -> (B, N, C)."""
    above, out, below = gathered.sum(1).unbind(2)
    out[:, 1:] += above[:, :-1]
    out[:, :-1] += below[:, 1:]
    return out
