"""The model card: what a network was trained on, and what its input must look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from napari_hmkd.model.card_fields import (
    Rule,
    are_different_texts,
    card_json,
    check_fields,
    check_names,
    is_number,
    is_positive,
    is_text,
    json_object,
)
from napari_hmkd.model.stages import GRADES, TILE_MULTIPLE_PX, WIDEST
from napari_hmkd.wording import GRADE_NAMES

Role = Literal["teacher", "student"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Everything needed to rebuild a network and to feed it.

    Attributes
    ----------
    name : str
        How outputs call the model.
    role : {"teacher", "student"}
        Which network it is.
    width : float
        Relative width it was built with; 1.0 is the published size.
    mpp : float
        Pixel size of its tiles in um/px.
    tile_px : int
        Side of its tiles, a multiple of 256.
    mean, std : tuple of float
        Per channel (R, G, B), of values scaled to [0, 1].
    class_names : tuple of str
        The grades in the order of the logits.
    temperature : float
        Logits are divided by it before softmax.
    architecture : str
        "hmkd" for this project's networks, or "timm:NAME" for a student that is a network of timm.
    conformal_level : float
        Share of tiles whose prediction set was to hold the true grade, above 0 and below 1.
    conformal_thresholds : tuple of float
        For each grade the calibrated probability from which on it belongs to a tile's prediction
        set; empty where none were fitted.
    training_data : str
        What it was trained on.
    notice : str
        The sentence every output made with it must carry; empty for none.
    created_with : str
        Program and version that wrote the card.

    Raises
    ------
    ModelError
        If a field has the wrong type or is out of range; the message names it.
    """

    name: str
    role: str
    width: float
    mpp: float
    tile_px: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    class_names: tuple[str, ...] = GRADE_NAMES
    temperature: float = 1.0
    architecture: str = "hmkd"
    conformal_level: float = 0.9
    conformal_thresholds: tuple[float, ...] = ()
    training_data: str = ""
    notice: str = ""
    created_with: str = ""

    def __post_init__(self) -> None:
        """Bring every field to its type, and check it."""
        check_fields(self, _RULES, "model card")

    def to_json(self) -> str:
        """The card as JSON text."""
        return card_json(self)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card.

        Raises
        ------
        ModelError
            If the text is no JSON object, or a field is missing, unknown or wrong.
        """
        data = json_object(text, "model card")
        check_names(data, cls, "model card")
        return cls(**data)

    def normalise(self, tiles: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Tiles as the network takes them.

        Parameters
        ----------
        tiles : numpy.ndarray or torch.Tensor
            uint8 (B, s, s, 3), RGB; a tensor stays on its device.

        Returns
        -------
        torch.Tensor
            float32 (B, 3, s, s), in memory channels last.

        Raises
        ------
        ValueError
            For any other dtype or number of channels.
        """
        # A copy, so a read-only array does no harm; of arrays that run backwards torch makes none.
        pixels = (
            tiles if isinstance(tiles, torch.Tensor) else torch.tensor(np.ascontiguousarray(tiles))
        )
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
            raise ValueError(
                "tiles must be uint8 (B, side, side, 3), "
                f"got {str(pixels.dtype).removeprefix('torch.')} {tuple(pixels.shape)}"
            )
        # Of a whole row at once: by threes it takes seven times as long. Filled on the device, as a copy
        # to it would have to wait for all that it does, and could not be recorded (`Replay`).
        mean, std = (
            torch.stack(
                [
                    torch.full((), value, dtype=torch.float32, device=pixels.device)
                    for value in values
                ]
            ).repeat(pixels.shape[2])
            for values in (self.mean, self.std)
        )
        found = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        found.div_(255).flatten(2).sub_(mean).div_(std)
        return found.permute(0, 3, 1, 2)  # (B, s, s, 3) -> (B, 3, s, s) without moving the pixels


def _are_numbers(values: Any, *counts: int) -> bool:
    return isinstance(values, tuple) and len(values) in counts and all(map(is_number, values))


_RULES: dict[str, Rule] = {
    "role": (lambda role: role in get_args(Role), f"one of {get_args(Role)}"),
    "width": (
        lambda width: is_positive(width) and width <= WIDEST,
        f"a number above 0 and at most {WIDEST:g}",
    ),
    "mpp": (is_positive, "a positive number"),
    "tile_px": (
        lambda side: isinstance(side, int) and side > 0 and side % TILE_MULTIPLE_PX == 0,
        f"a multiple of {TILE_MULTIPLE_PX}",
    ),
    "mean": (lambda mean: _are_numbers(mean, 3), "three numbers"),
    "std": (
        lambda std: _are_numbers(std, 3) and all(map(is_positive, std)),
        "three positive numbers",
    ),
    "class_names": (
        lambda names: are_different_texts(names) and len(names) == GRADES,
        f"{GRADES} different texts",
    ),
    "temperature": (is_positive, "a positive number"),
    "architecture": (
        lambda name: is_text(name) and (name == "hmkd" or name.startswith("timm:")),
        "hmkd or timm:NAME",
    ),
    "conformal_level": (lambda level: is_positive(level) and level < 1, "a number between 0 and 1"),
    "conformal_thresholds": (
        lambda thresholds: _are_numbers(thresholds, 0, GRADES),
        f"{GRADES} numbers or none",
    ),
}
