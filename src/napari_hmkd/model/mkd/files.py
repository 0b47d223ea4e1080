"""Biomarker models in files: the pathology networks of several targets, with one card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from napari_hmkd.errors import ModelError
from napari_hmkd.model.checkpoint import fill
from napari_hmkd.model.mkd.card import BiomarkerCard
from napari_hmkd.model.mkd.pathology import PathologyNetwork, build_pathology_network
from napari_hmkd.model.registry import find_biomarkers
from napari_hmkd.model.storage import read_card_file, read_tensors, write_model
from napari_hmkd.model.tensors import check_tensors

_ADVICE = "Biomarker models are written by: napari-hmkd-train mkd"


def save_biomarkers(
    networks: Mapping[str, PathologyNetwork], card: BiomarkerCard, path: str | os.PathLike[str]
) -> None:
    """Write weights and card; each file is replaced whole or not at all.

    Parameters
    ----------
    networks : mapping of str to PathologyNetwork
        By the names of the card's targets.
    path : path-like
        The weights, ``.safetensors``, whose tensors are named ``TARGET.rest``; the card goes
        beside it.

    Raises
    ------
    ModelError
        If the networks are not what the card says, or a weight is not finite.
    OutputError
        If the files cannot be written, or the name does not end in ``.safetensors``.
    """
    tensors = {
        f"{target}.{name}": tensor
        for target, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    _by_target(tensors, card, "the model to be saved")
    write_model(Path(path), tensors, card.to_json())


def load_biomarkers(
    name_or_path: str | os.PathLike[str],
) -> tuple[dict[str, PathologyNetwork], BiomarkerCard]:
    """Read a biomarker model.

    Parameters
    ----------
    name_or_path : str or path-like
        Weights, ``.safetensors``, or the name of a packaged model.

    Returns
    -------
    networks : dict of str to PathologyNetwork
        By target, in the card's order; in eval mode, float32, on the CPU.
    card : BiomarkerCard
        Its card.

    Raises
    ------
    ModelError
        If there is no such model, weights or card are broken, or they do not fit each other.
    """
    path = find_biomarkers(name_or_path)
    tensors = read_tensors(path, _ADVICE)
    card = read_card_file(path, BiomarkerCard.from_json)
    found = _by_target(tensors, card, str(path))
    networks = {target: fill(blank, found[target]) for target, blank in _blanks(card).items()}
    return networks, card


def _blanks(card: BiomarkerCard) -> dict[str, PathologyNetwork]:
    """A network for each target that has shapes and no memory yet."""
    with torch.device("meta"):
        return {
            target.name: build_pathology_network(
                feature_dim=card.feature_dim, classes=len(target.classes)
            )
            for target in card.targets
        }


def _by_target(
    tensors: Mapping[str, torch.Tensor], card: BiomarkerCard, what: str
) -> dict[str, dict[str, torch.Tensor]]:
    """The checked tensors of each target's network.

    Raises
    ------
    ModelError
        Naming the first tensor that does not fit the card.
    """
    found: dict[str, dict[str, torch.Tensor]] = {target.name: {} for target in card.targets}
    for name, tensor in tensors.items():
        target, _, rest = name.partition(".")
        if target not in found:
            raise ModelError(f"{what} has a tensor {name} of no target: {', '.join(found)}")
        found[target][rest] = tensor
    for target, blank in _blanks(card).items():
        check_tensors(found[target], blank, f"{what}, target {target},")
    return found
