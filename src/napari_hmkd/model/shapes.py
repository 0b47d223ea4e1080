"""What a network would answer: the shapes without the numbers."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from napari_hmkd.model.student import Student
from napari_hmkd.model.teacher import Teacher


@dataclass(frozen=True, slots=True)
class AnswerWidths:
    """How many channels an answer has.

    Attributes
    ----------
    pooled : int
        Of the pooled features.
    maps : tuple of int
        Of the feature maps at the end of each stage, finest first.
    """

    pooled: int
    maps: tuple[int, ...]


def answer_widths(network: nn.Module, tile_px: int) -> AnswerWidths:
    """How many channels a student or a teacher answers with.

    Parameters
    ----------
    network : torch.nn.Module
        Returns a `StudentOutput` or a `TeacherOutput`. This project's own were built from their
        channels, so that only those of timm have to be asked.
    tile_px : int
        Side of the tile.
    """
    if isinstance(network, Student | Teacher):
        return AnswerWidths(network.channels[-1], network.channels)
    found = answer_shapes(network, tile_px)
    return AnswerWidths(found.pooled.shape[1], tuple(grid.shape[1] for grid in found.maps))


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
    # The copy finds tensors without numbers: a second set of an encoder's may not fit into memory.
    blank: dict[int, Any] = {
        id(weight): nn.Parameter(weight.to("meta"), requires_grad=False)
        for weight in network.parameters()
    }
    blank |= {id(buffer): buffer.to("meta") for buffer in network.buffers()}
    shapes = deepcopy(network, blank).eval()
    tile = torch.empty(1, 3, tile_px, tile_px, device="meta")
    stains = 2 if isinstance(network, Teacher) else 1
    with torch.inference_mode():
        return shapes(*[tile] * stains)
