"""Biomarker models in files: P of several targets, and perhaps M, with one card."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.genes.selection import GeneSelection
from napari_hmkd.model.checkpoint import fill
from napari_hmkd.model.mkd.card import BiomarkerCard, Target
from napari_hmkd.model.mkd.multimodal import MultimodalNetwork, build_multimodal_network
from napari_hmkd.model.mkd.outputs import M, P
from napari_hmkd.model.mkd.pathology import PathologyNetwork, build_pathology_network
from napari_hmkd.model.registry import find_biomarkers
from napari_hmkd.model.storage import read_card_file, read_metadata, read_tensors, write_model
from napari_hmkd.model.tensors import check_tensors

_ADVICE = "Biomarker models are written by: napari-hmkd-train mkd"
_OF_M = "multimodal."
_GENES = "genes"
"""Where the header holds the genes of each target's M, as JSON."""

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class MultimodalModel:
    """M of a target, in eval mode, and how it takes genes."""

    network: MultimodalNetwork
    genes: GeneSelection


_NO_M: Mapping[str, MultimodalModel] = MappingProxyType({})


def save_biomarkers(
    networks: Mapping[str, PathologyNetwork],
    card: BiomarkerCard,
    path: str | os.PathLike[str],
    multimodal: Mapping[str, MultimodalModel] = _NO_M,
) -> None:
    """Write weights and card; each file is replaced whole or not at all.

    Parameters
    ----------
    networks : mapping of str to PathologyNetwork
        By the names of the card's targets.
    card : BiomarkerCard
    path : path-like
        The weights, ``.safetensors``, whose tensors are named ``TARGET.rest``, those of M
        ``TARGET.multimodal.rest``; the card goes beside it.
    multimodal : mapping of str to MultimodalModel
        By the card's targets where they have a temperature with genes. Genes stand in the weights' header.

    Raises
    ------
    ModelError
        If the networks are not what the card says, or a weight is not finite.
    OutputError
        If the files cannot be written, or the name does not end in ``.safetensors``.
    """
    of_m = {target: one.network for target, one in multimodal.items()}
    tensors = {
        f"{target}.{prefix}{name}": tensor
        for prefix, own in (("", networks), (_OF_M, of_m))
        for target, network in own.items()
        for name, tensor in network.state_dict().items()
    }
    genes = {target: one.genes for target, one in multimodal.items()}
    what = "the model to be saved"
    found = _by_network(tensors, card, what)
    _check(found, P, _blank_pathology(card), what)
    _check(found, M, _blank_multimodal(card, genes, what), what)
    text = json.dumps({target: one.to_json() for target, one in genes.items()})
    write_model(Path(path), tensors, card.to_json(), {_GENES: text} if genes else None)


def load_biomarkers(
    name_or_path: str | os.PathLike[str],
) -> tuple[dict[str, PathologyNetwork], BiomarkerCard]:
    """Read P of every target of a biomarker model.

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
    found, blanks = _by_network(tensors, card, str(path)), _blank_pathology(card)
    _check(found, P, blanks, str(path))
    return {target: fill(blank, found[target, P]) for target, blank in blanks.items()}, card


def load_multimodal(path: Path, card: BiomarkerCard) -> dict[str, MultimodalModel]:
    """Read M of a biomarker model.

    Parameters
    ----------
    path : Path
        Weights, ``.safetensors``.
    card : BiomarkerCard
        Theirs.

    Returns
    -------
    dict of str to MultimodalModel
        By target, in eval mode, float32, on the CPU; empty where the card has no temperature with genes.

    Raises
    ------
    ModelError
        If weights and card do not fit each other, or the genes of a target are missing or broken.
    """
    found = _by_network(read_tensors(path, _ADVICE), card, str(path))
    genes = _read_genes(path)
    blanks = _blank_multimodal(card, genes, str(path))
    _check(found, M, blanks, str(path))
    return {
        target: MultimodalModel(fill(blank, found[target, M]), genes[target])
        for target, blank in blanks.items()
    }


def _read_genes(path: Path) -> dict[str, GeneSelection]:
    try:
        content = json.loads(read_metadata(path, _ADVICE).get(_GENES, "{}"))
        return {target: GeneSelection.from_json(one) for target, one in content.items()}
    except (ValueError, AttributeError, DataError) as error:
        raise ModelError(f"the genes in {path} cannot be read: {error}. {_ADVICE}") from error


def _blank_pathology(card: BiomarkerCard) -> dict[str, PathologyNetwork]:
    """P of each target with shapes and no memory yet."""
    with torch.device("meta"):
        return {
            target.name: build_pathology_network(
                feature_dim=card.feature_dim, classes=len(target.classes)
            )
            for target in card.targets
        }


def _blank_multimodal(
    card: BiomarkerCard, genes: Mapping[str, GeneSelection], what: str
) -> dict[str, MultimodalNetwork]:
    """M of each target that has one, with shapes and no memory yet."""
    wanted = _with_genes(card)
    if lacking := [target.name for target in wanted if target.name not in genes]:
        raise ModelError(f"{what} does not say which genes its network for {lacking[0]} sees")
    with torch.device("meta"):
        return {
            target.name: build_multimodal_network(
                feature_dim=card.feature_dim,
                token_genes=genes[target.name].token_genes,
                classes=len(target.classes),
            )
            for target in wanted
        }


def _with_genes(card: BiomarkerCard) -> list[Target]:
    return [target for target in card.targets if target.temperature_with_genes is not None]


def _by_network(
    tensors: Tensors, card: BiomarkerCard, what: str
) -> dict[tuple[str, str], dict[str, torch.Tensor]]:
    """Tensors by target and network, P or M.

    Raises
    ------
    ModelError
        Naming the first that belongs to none that the card tells of.
    """
    keys = [*((one.name, P) for one in card.targets), *((one.name, M) for one in _with_genes(card))]
    found: dict[tuple[str, str], dict[str, torch.Tensor]] = {key: {} for key in keys}
    for name, tensor in tensors.items():
        target, _, rest = name.partition(".")
        network = M if rest.startswith(_OF_M) else P
        if (target, network) not in found:
            known = ", ".join(map(" ".join, keys))
            raise ModelError(f"{what} has a tensor {name} of no target or network: {known}")
        found[target, network][rest.removeprefix(_OF_M)] = tensor
    return found


def _check(
    found: Mapping[tuple[str, str], Tensors],
    network: str,
    blanks: Mapping[str, nn.Module],
    what: str,
) -> None:
    """Require the tensors of these networks."""
    for target, blank in blanks.items():
        own = f"{what}, {'' if network == P else 'M of '}target {target},"
        check_tensors(found[target, network], blank.state_dict(), own)
