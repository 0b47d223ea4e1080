"""What the attention matrices say about a tile, and about the two networks (METHOD.md section 3).

Tokens of a level stand on a g x g grid over the tile, row by row; N = g * g. A token covers a
square of tile_px / g pixels.
"""

from __future__ import annotations

import math

import torch

from napari_hmkd.model.precision import float32_island, widened


def unit_squares(attention: torch.Tensor) -> torch.Tensor:
    """u(A) = A * A divided by its Euclidean norm over the whole matrix.

    Parameters
    ----------
    attention : torch.Tensor
        (B, N, N), any floating dtype, rows the query tokens.

    Returns
    -------
    torch.Tensor
        float32, or float64 of such, (B, N, N), not negative, of norm one for each tile; 0 where A is
        all 0.
    """
    with float32_island(attention):
        a = widened(attention)
        # u does not change with the scale of A, so a constant one keeps A^4 within float32.
        scale = a.detach().abs().amax(dim=(1, 2), keepdim=True)
        squares = (a / torch.where(scale > 0, scale, 1)).square()
        norm = squares.flatten(1).norm(dim=1)[:, None, None]
        return squares / torch.where(scale > 0, norm, 1)


def received_attention(attention: torch.Tensor) -> torch.Tensor:
    """How much each key token is looked at: sqrt(sum over the queries of u(A)).

    Parameters
    ----------
    attention : torch.Tensor
        (B, N, N).

    Returns
    -------
    torch.Tensor
        float32 (B, g, g), not negative.
    """
    return _on_grid(unit_squares(attention).sum(dim=1).sqrt())


def discrepancy(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """What each query token adds to the level's attention loss of its tile.

    Parameters
    ----------
    student, teacher : torch.Tensor
        (B, N, N) of one level.

    Returns
    -------
    torch.Tensor
        float32 (B, g, g), not negative; a tile's sum is its attention loss.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    check_pair(student.shape, teacher.shape)
    return _on_grid((unit_squares(student) - unit_squares(teacher)).square().sum(dim=2))


def agreement(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cosine of the two u(A); a tile's attention loss is 2 - 2 x agreement.

    Parameters
    ----------
    student, teacher : torch.Tensor
        (B, N, N) of one level, neither all 0.

    Returns
    -------
    torch.Tensor
        float32 (B,), from 0 to 1.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    check_pair(student.shape, teacher.shape)
    return (unit_squares(student) * unit_squares(teacher)).sum(dim=(1, 2)).clamp(max=1)


def _on_grid(tokens: torch.Tensor) -> torch.Tensor:
    """(B, N) -> (B, g, g)."""
    side = math.isqrt(tokens.shape[1])
    return tokens.unflatten(1, (side, side))


def check_pair(student: torch.Size, teacher: torch.Size) -> None:
    """Require matrices of one shape.

    Raises
    ------
    ValueError
        If they differ.
    """
    if student != teacher:
        raise ValueError(
            "attention of one level is compared: student and teacher must have one shape, "
            f"got {tuple(student)} and {tuple(teacher)}"
        )
