"""What a biomarker model says about a bag: probabilities of each status, and where it looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_hmkd.bags.bag import Bag
from napari_hmkd.bags.packing import PackedBags, pack
from napari_hmkd.biomarkers.attributes import ENCODER, ENCODER_SHA256, PATCH_MPP, TILE_PX
from napari_hmkd.biomarkers.case_genes import CaseGenes
from napari_hmkd.biomarkers.encoders import Encoder, find_encoder
from napari_hmkd.device import choose_device, device_errors, done_on
from napari_hmkd.errors import ModelError
from napari_hmkd.grading import file_sha256
from napari_hmkd.model.mkd.card import BiomarkerCard, Target
from napari_hmkd.model.mkd.files import load_biomarkers
from napari_hmkd.model.mkd.outputs import M, MkdOutput, P
from napari_hmkd.model.mkd.pathology import PathologyNetwork
from napari_hmkd.model.registry import find_biomarkers
from napari_hmkd.model.timm_networks import PREFIX

_SAME_MPP = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class BiomarkerModel:
    """Pathology networks in eval mode, one for each target, with their card and file."""

    networks: Mapping[str, PathologyNetwork]
    card: BiomarkerCard
    path: Path

    def sha256(self) -> str:
        """Hash of the weights' file, to name it beyond doubt in results."""
        return file_sha256(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What is said of one target.

    Attributes
    ----------
    target : Target
        With its classes and what they mean.
    network : str
        Which answered: "P" from tissue alone, or "M" from tissue and genes.
    temperature : float
        That network's.
    probabilities : numpy.ndarray
        Of the classes, after the temperature: float32 (classes,), sums to one.
    attention : numpy.ndarray
        Weight of each patch in the answer: float32 (n,), sums to one.
    """

    target: Target
    network: str
    temperature: float
    probabilities: np.ndarray
    attention: np.ndarray

    @property
    def most_probable(self) -> str:
        """The class."""
        return self.target.classes[int(self.probabilities.argmax())]

    @property
    def relative_attention(self) -> np.ndarray:
        """Attention as a multiple of an even share: float32 (n,), 1 where all patches weigh alike."""
        return self.attention * len(self.attention)

    def top(self, count: int) -> np.ndarray:
        """Numbers of the patches with most attention, the first the most: int64 (at most count,)."""
        return np.argsort(-self.attention, kind="stable")[:count]


def open_biomarkers(name: str | Path = "demo") -> BiomarkerModel:
    """Load a biomarker model by its registered name or its file.

    Raises
    ------
    ModelError
        If there is no such model, or it cannot be loaded.
    """
    path = find_biomarkers(name)
    return BiomarkerModel(*load_biomarkers(path), path)


def encoder_of(
    model: BiomarkerModel, name: str | None = None, weights: Path | None = None
) -> Encoder:
    """The encoder that a model's bags were made by.

    Parameters
    ----------
    model : BiomarkerModel
    name : str, optional
        As `find_encoder` takes it; that of the card if it names a network of timm, else "demo".
    weights : Path, optional
        Of a network of timm.

    Raises
    ------
    ModelError
        If it is another encoder than the card's, or the card does not tell which it is or what tiles it sees.
    """
    card = model.card
    if card.patch_px is None or card.mpp is None or not card.encoder_sha256:
        raise ModelError(
            f"asked to predict from a slide with {card.name}, whose bags did not tell encoder, tile and pixel size; "
            "make bags by the encoder that was used for training, and train with these"
        )
    of_timm = card.encoder.startswith(PREFIX)
    name = name or (card.encoder if of_timm else "demo")
    encoder = (
        find_encoder(name, weights, card.patch_px, card.mpp)
        if name.startswith(PREFIX)
        else find_encoder(name, weights)
    )
    if encoder.sha256 != card.encoder_sha256:
        option = "--weights" if of_timm else "--encoder"
        raise ModelError(
            f"{card.name} judges bags of {card.encoder} (SHA-256 {card.encoder_sha256[:12]}...), but the encoder "
            f"{encoder.name} has {encoder.sha256[:12]}...; name that encoder's file ({option}, or Encoder file "
            "in napari)"
        )
    return encoder


def predict(
    bag: Bag, model: BiomarkerModel, device: str, genes: CaseGenes | None = None
) -> tuple[Prediction, ...]:
    """Judge a bag, in float32: by M where there are genes, else by P.

    Parameters
    ----------
    bag : Bag
    model : BiomarkerModel
        Its networks are moved to the device.
    device : str
        As `choose_device` takes it.
    genes : CaseGenes, optional
        Of the bag's slide, for this model.

    Returns
    -------
    tuple of Prediction
        One for each target, in the card's order.

    Raises
    ------
    ModelError
        If the bag was made by another encoder or at another pixel size, or an answer is not finite.
    DeviceError
        If torch fails.
    """
    require_bag(bag.name, bag.features.shape[1], bag.attributes, model.card)
    place = choose_device(device)
    return done_on(place, _judged, bag, model, place, genes)


def _judged(
    bag: Bag, model: BiomarkerModel, place: torch.device, genes: CaseGenes | None
) -> tuple[Prediction, ...]:
    """What the networks say, on a device."""
    found = []
    with device_errors(place), torch.inference_mode():
        bags = pack([bag.features]).to(place)
        for target in model.card.targets:
            network, temperature, output = _answer(bags, target, model, genes)
            logits = output.logits[0].float() / temperature
            answer = logits.softmax(dim=0).cpu().numpy(), output.attention.float().cpu().numpy()
            if not all(np.isfinite(one).all() for one in answer):
                raise ModelError(
                    f"{model.card.name} gives no finite answer for {target.name} of {bag.name}: its features or "
                    "genes are unlike what it was trained on"
                )
            found.append(Prediction(target, network, temperature, *answer))
    return tuple(found)


def _answer(
    bags: PackedBags, target: Target, model: BiomarkerModel, genes: CaseGenes | None
) -> tuple[str, float, MkdOutput]:
    """Which network answers, its temperature, and its answer."""
    place, temperature = bags.features.device, target.temperature_with_genes
    if genes is None or genes.missing or temperature is None:
        return P, target.temperature, model.networks[target.name].to(place)(bags)
    tokens = torch.from_numpy(genes.tokens[target.name]).to(place)
    return M, temperature, genes.models[target.name].network.to(place)(bags, tokens)


def require_bag(name: str, feature_dim: int, said: Mapping[str, Any], card: BiomarkerCard) -> None:
    """Check that a model may judge a bag; what the bag does not tell, as CLAM's do not, cannot be checked.

    Parameters
    ----------
    name : str
    feature_dim : int
        Features of a patch.
    said : mapping
        The bag's attributes.
    card : BiomarkerCard

    Raises
    ------
    ModelError
        If its features have another dimension, encoder, pixel size or side of tiles.
    """
    mpp, side, sha256 = said.get(PATCH_MPP), said.get(TILE_PX), said.get(ENCODER_SHA256)
    found = ""
    if feature_dim != card.feature_dim:
        found = f"{feature_dim} features instead of {card.feature_dim}"
    elif sha256 and card.encoder_sha256 and sha256 != card.encoder_sha256:
        found = f"features of {said.get(ENCODER)}, SHA-256 {sha256[:12]}..., instead of {card.encoder_sha256[:12]}..."
    elif mpp and card.mpp and abs(mpp / card.mpp - 1) > _SAME_MPP:
        found = f"patches at {mpp:g} um/px instead of {card.mpp:g}"
    elif side and card.patch_px and side != card.patch_px:
        found = f"patches of {side} px instead of {card.patch_px}"
    if found:
        raise ModelError(
            f"{card.name} judges bags of {card.encoder}, but the bag {name} has {found}; make it again by that "
            "encoder"
        )
