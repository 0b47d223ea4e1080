"""The sizes both networks share: stages, channels, tile sides."""

from __future__ import annotations

import torch

GRADES = 4
EMBEDDING = 128
# Stage 0 sees the tile in patches of 32 px; each later stage halves the token grid.
PATCH_PX = (32, 2, 2, 2)
TILE_MULTIPLE_PX = 256
PUBLISHED_CHANNELS = (48, 96, 224, 448)
CHANNELS_MULTIPLE, SMALLEST_CHANNELS = 8, 32
WIDEST = 8.0


def stage_channels(width: float) -> tuple[int, ...]:
    """Channels of the four stages at a relative width; 1.0 gives the published 48, 96, 224, 448.

    Each is the nearest multiple of 8, at least 32: the multi-scale convolution of a stage works on
    an eighth of its channels and needs four of them.

    Raises
    ------
    ValueError
        If `width` is not above 0 and at most 8.
    """
    if not 0 < width <= WIDEST:
        raise ValueError(f"width must be above 0 and at most {WIDEST:g}, got {width}")
    # As timm's `make_divisible` rounds, which is not used: timm takes longer to load than torch.
    half_up = (
        int(channels * width / CHANNELS_MULTIPLE + 0.5) * CHANNELS_MULTIPLE
        for channels in PUBLISHED_CHANNELS
    )
    return tuple(max(channels, SMALLEST_CHANNELS) for channels in half_up)


def check_tiles(he: torch.Tensor) -> None:
    """Accept H&E (B, 3, s, s) with s a multiple of 256.

    Raises
    ------
    ValueError
        For any other shape, naming the one found.
    """
    shape = tuple(he.shape)
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise ValueError(f"H&E tiles must have shape (B, 3, side, side), got {shape}")
    if shape[2] == 0 or shape[2] % TILE_MULTIPLE_PX:
        raise ValueError(
            f"the side of H&E tiles must be a multiple of {TILE_MULTIPLE_PX} px, got {shape[2]}"
        )
