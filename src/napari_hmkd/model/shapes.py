"""What a network would answer: the shapes without the numbers."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from napari_hmkd.model.teacher import Teacher


def answer_shapes(network: nn.Module, tile_px: int) -> Any:
    """The answer to one tile (one pair, for a teacher), in tensors that have a shape alone.

    Parameters
    ----------
    network : torch.nn.Module
        A teacher, or what sees one stain; a copy of it on torch's `meta` device answers, and computes
        nothing.
    tile_px : int
        Side of the tile.
    """
    shapes = deepcopy(network).to("meta").eval()
    tile = torch.empty(1, 3, tile_px, tile_px, device="meta")
    stains = 2 if isinstance(network, Teacher) else 1
    with torch.inference_mode():
        return shapes(*[tile] * stains)
