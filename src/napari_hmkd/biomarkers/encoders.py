"""Frozen encoders: what turns a tile of H&E into the features of a patch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.device import device_errors, device_of, mixed_precision, to_device
from napari_hmkd.errors import ModelError, reason_of
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.model import ModelCard
from napari_hmkd.model.shapes import answer_shapes, answer_widths
from napari_hmkd.model.sharing import answer_in_parts
from napari_hmkd.model.tensors import check_tensors
from napari_hmkd.model.timm_networks import PREFIX, create, read_weights, refusals

TIMM_TILE_PX, TIMM_MPP = 256, 0.5
"""Tiles of a network of timm where nothing else is asked for: 256 px at 20x, as UNI and CONCH have them."""

Features = tuple[torch.Tensor]
"""Of tiles, float32 (n, d), as `Replay` takes answers."""

CONFIG_FILE = "config.json"
"""What the hub has beside timm's weights: how the network was built, and what its input looks like."""

_REFUSAL = (
    "cannot be the encoder ({reason}): it must give one vector for a tile; look whether the "
    + CONFIG_FILE
    + " that came with the weights lies beside them"
)


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A frozen network that turns tiles into features.

    Attributes
    ----------
    model : OpenModel
        Its network takes normalised tiles (b, 3, s, s) to features (b, d); its card says at which pixel
        size slides are read for it, and how tiles are normalised.
    feature_dim : int
        d.
    """

    model: OpenModel
    feature_dim: int

    @property
    def name(self) -> str:
        """How bags call it."""
        return self.model.card.name

    @property
    def sha256(self) -> str:
        """Hash of its weights' file, by which a bag's encoder is known beyond doubt."""
        return self.model.sha256()

    @property
    def patch_px(self) -> int:
        """Side of its tiles, in px of `mpp`."""
        return self.model.card.tile_px

    @property
    def mpp(self) -> float:
        """Pixel size of its tiles, um/px."""
        return self.model.card.mpp

    def encode(
        self,
        tiles: Sequence[np.ndarray] | np.ndarray,
        precision: str = "float32",
        ask: Callable[[torch.Tensor], Features] | None = None,
    ) -> np.ndarray:
        """Features of tiles, each uint8 (s, s, 3): float32 (n, d), on the device where the network is.

        They are not finite where the network's answer is not.

        Parameters
        ----------
        tiles : sequence of numpy.ndarray, or one of them all
        precision : str
            As `choose_precision` takes it.
        ask : callable, optional
            Asks the network as `look` does, of which it is a faster way.

        Raises
        ------
        DeviceError
            If torch fails, for want of memory or otherwise.
        """
        device, ask = device_of(self.model.network), ask or partial(self.look, precision)
        with device_errors(device), torch.inference_mode():
            parts = answer_in_parts(lambda pixels: ask(pixels)[0].cpu(), to_device(tiles, device))
            return torch.cat(parts).numpy()

    def look(self, precision: str, pixels: torch.Tensor) -> Features:
        """Features of tiles, uint8 (n, s, s, 3), on their device."""
        with mixed_precision(pixels.device, precision):
            return (self.model.network(self.model.card.normalise(pixels)).float(),)


def find_encoder(
    name: str = "demo",
    weights: Path | None = None,
    tile_px: int | None = None,
    mpp: float | None = None,
) -> Encoder:
    """An encoder by its name.

    Parameters
    ----------
    name : str
        A student's registered name or file: its pooled features; or "timm:NAME": what that network gives
        in front of its classifier.
    weights : Path, optional
        timm's weights for the network, a local file; of timm's alone. Where the hub's `config.json` lies
        beside it, the network is built and its input normalised as that says.
    tile_px : int, optional
        Side of the tiles that are read for a network of timm, a multiple of 256 px; default 256. Networks of
        a fixed input get them resized, bilinear with antialiasing.
    mpp : float, optional
        Their pixel size, um/px; default 0.5.

    Raises
    ------
    ModelError
        If there is no such network or file, they do not fit each other, or an option has no meaning.
    """
    if not name.startswith(PREFIX):
        given = {"--weights": weights, "--tile-px": tile_px, "--tile-mpp": mpp}
        if asked := [option for option, value in given.items() if value is not None]:
            raise ModelError(
                f"asked for the encoder {name} with {' and '.join(asked)}, which a student's file and card settle; "
                f"leave them out, or name a network of timm as {PREFIX}NAME"
            )
        student = open_model(name)
        features = _Pooled(student.network).eval()
        return Encoder(
            OpenModel(features, student.card, student.path),
            answer_widths(student.network, student.card.tile_px).pooled,
        )
    if weights is None:
        raise ModelError(
            f"asked for the encoder {name} without its weights, and nothing is downloaded; give their file with "
            "--weights"
        )
    return _timm_encoder(
        name.removeprefix(PREFIX), weights, tile_px or TIMM_TILE_PX, mpp or TIMM_MPP
    )


class _Pooled(nn.Module):
    """A student up to its pooled features."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, he: torch.Tensor) -> torch.Tensor:
        return self.student(he).pooled


class _Resized(nn.Module):
    """A network whose input has one size, fed with tiles of another."""

    def __init__(self, network: nn.Module, side_px: int) -> None:
        super().__init__()
        self.network, self.side_px = network, side_px

    def forward(self, he: torch.Tensor) -> torch.Tensor:
        if he.shape[-1] != self.side_px:
            he = functional.interpolate(he, (self.side_px,) * 2, mode="bilinear", antialias=True)
        return self.network(he)


def _timm_encoder(name: str, weights: Path, tile_px: int, mpp: float) -> Encoder:
    tensors = read_weights(weights)
    config = _config_beside(weights, name)
    options = {**config.get("model_args", {}), "num_classes": 0}
    network: Any = create(name, _REFUSAL, **options)
    said = network.pretrained_cfg | config.get("pretrained_cfg", {})
    # Many files hold a classifier, which gives no features.
    heads = said.get("classifier") or ()
    leaves = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    own = network.state_dict()
    kept = {n: t for n, t in tensors.items() if n in own or not n.startswith(leaves)}
    check_tensors(kept, own, str(weights))
    network.load_state_dict(kept)
    card = ModelCard(
        name=PREFIX + name,
        role="student",
        width=1.0,
        mpp=mpp,
        tile_px=tile_px,
        mean=tuple(said["mean"]),
        std=tuple(said["std"]),
        architecture=PREFIX + name,
    )
    if said.get("fixed_input_size"):
        network = _Resized(network, said["input_size"][-1])
    with refusals(name, _REFUSAL):
        shape = answer_shapes(network, card.tile_px).shape
        if len(shape) != 2:
            raise ValueError(f"it answers a tile with the shape {tuple(shape)}")
    return Encoder(OpenModel(network.eval(), card, weights), shape[1])


def _config_beside(weights: Path, name: str) -> Mapping[str, Any]:
    """The hub's description of a network; empty where there is none."""
    path = weights.with_name(CONFIG_FILE)
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        architecture = found["architecture"]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ModelError(
            f"{path}, beside the weights {weights.name}, is no description of a network of timm ({reason_of(error)}); "
            "remove it, or copy it again from where the weights came from"
        ) from error
    if architecture != name:
        raise ModelError(
            f"asked for the encoder {PREFIX}{name}, but {path} says that {weights.name} is {architecture}; name that"
        )
    return found
