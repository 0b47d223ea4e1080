"""Where student and teacher look within one tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from napari_hmkd.device import device_errors, device_of
from napari_hmkd.errors import ModelError
from napari_hmkd.grading import OpenModel
from napari_hmkd.model import received_attention

Maps = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TileAttention:
    """Received attention in one tile: how much all query tokens look at each key token.

    Attributes
    ----------
    student : tuple of numpy.ndarray
        Levels 0, 1, 2, finest first: float32 (g, g), not negative, each
        square of tissue tile_px / g px wide. Maps of one level can be compared with one another.
    teacher : tuple of numpy.ndarray or None
        The same from the teacher's H&E branch, which the student learned from.
    """

    student: Maps
    teacher: Maps | None = None


def attention_of_tile(
    student: OpenModel,
    he: np.ndarray,
    teacher: OpenModel | None = None,
    ihc: np.ndarray | None = None,
) -> TileAttention:
    """Received attention of the student, and of the teacher where the IHC tile is at hand.

    Parameters
    ----------
    student : OpenModel
        Sees the H&E tile alone.
    he : numpy.ndarray
        uint8 (tile_px, tile_px, 3), as `read_tile` gives it.
    teacher : OpenModel, optional
        Sees both tiles.
    ihc : numpy.ndarray, optional
        The same square of tissue on the registered IHC slide: uint8 (tile_px, tile_px, 3).

    Raises
    ------
    ModelError
        If teacher and student were made for tiles of different size or pixel size, or attention is
        not finite.
    DeviceError
        If torch fails, for want of memory or otherwise.
    """
    of_student = _received(student, he)
    if teacher is None or ihc is None:
        return TileAttention(of_student)
    fields = [(model.card.tile_px, model.card.mpp) for model in (student, teacher)]
    if fields[0] != fields[1]:
        raise ModelError(
            f"asked to compare {student.card.name} with {teacher.card.name}, but their tiles differ "
            f"(px, um/px): {fields[0]} and {fields[1]}; choose the teacher this student learned from"
        )
    return TileAttention(of_student, _received(teacher, he, ihc))


def _received(model: OpenModel, *stains: np.ndarray) -> Maps:
    device = device_of(model.network)
    with device_errors(device), torch.inference_mode():
        tiles = [model.card.normalise(torch.from_numpy(np.stack([t])).to(device)) for t in stains]
        attention = model.network(*tiles, attention=True).attention
        matrices = attention if model.card.role == "student" else attention.he
        maps = tuple(received_attention(a)[0].float().cpu().numpy() for a in matrices)
    if not all(np.isfinite(one).all() for one in maps):
        raise ModelError(
            f"asked where {model.card.name} looks, but its attention is not finite here: the tissue is "
            "unlike what it was trained on; choose another tile or model"
        )
    return maps
