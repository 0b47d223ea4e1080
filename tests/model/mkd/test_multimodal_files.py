"""M beside P in the file of a biomarker model, with the genes that it sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_hmkd.bags.packing import pack
from napari_hmkd.errors import ModelError
from napari_hmkd.genes.selection import GeneSelection
from napari_hmkd.model.mkd import (
    BiomarkerCard,
    MultimodalModel,
    PathologyNetwork,
    build_multimodal_network,
    load_biomarkers,
    load_multimodal,
    save_biomarkers,
)

GENES = GeneSelection(("ERBB2", "GRB7", "Ä"), np.array([1, 2, 0.1]), np.array([1, 0.3, 2]), 2)
Models = dict[str, MultimodalModel]


@pytest.fixture
def card(biomarker_card: BiomarkerCard) -> BiomarkerCard:
    targets = tuple(replace(one, temperature_with_genes=0.7) for one in biomarker_card.targets)
    return replace(biomarker_card, targets=targets)


@pytest.fixture
def models(card: BiomarkerCard) -> Models:
    torch.manual_seed(1)
    return {
        one.name: MultimodalModel(
            build_multimodal_network(
                feature_dim=card.feature_dim, token_genes=2, classes=len(one.classes)
            ),
            GENES,
        )
        for one in card.targets
    }


@pytest.fixture
def saved(
    biomarker_networks: dict[str, PathologyNetwork],
    card: BiomarkerCard,
    models: Models,
    tmp_path: Path,
) -> Path:
    path = tmp_path / "m.safetensors"
    save_biomarkers(biomarker_networks, card, path, models)
    return path


def rewrite(path: Path, change: Callable[[dict, dict], object]) -> None:
    """Change the tensors and the genes that the header tells of."""
    with safe_open(path, "pt") as file:
        genes = json.loads(file.metadata()["genes"])
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors, genes)
    save_file(tensors, path, {"genes": json.dumps(genes)} if genes else None)


def test_m_and_its_genes_come_back_exactly(
    saved: Path, card: BiomarkerCard, models: Models
) -> None:
    found = load_multimodal(saved, card)
    assert list(found) == ["HER2", "ER level"]
    bags, tokens = pack([torch.randn(5, card.feature_dim)]), torch.randn(1, 2, 2)
    for target, one in found.items():
        assert not one.network.training
        wanted = models[target].network.eval()(bags, tokens)
        assert torch.equal(one.network(bags, tokens).logits, wanted.logits)
        assert one.genes.to_json() == GENES.to_json()


def test_p_is_read_as_from_a_file_without_m(
    saved: Path, biomarker_networks: dict[str, PathologyNetwork]
) -> None:
    networks, card = load_biomarkers(saved)
    assert card.takes_genes
    for target, network in networks.items():
        for name, weight in network.state_dict().items():
            assert torch.equal(weight, biomarker_networks[target].state_dict()[name])


def test_the_card_does_not_list_the_genes(saved: Path) -> None:
    assert "GRB7" not in saved.with_suffix(".json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t, _: t.pop("HER2.multimodal.classify.bias"),
            "M of target HER2, lacks the tensor classify.bias",
        ),
        (
            lambda t, _: t["HER2.multimodal.fusion.join.bias"].fill_(torch.inf),
            "M of target HER2, has values in fusion.join.bias that are not finite",
        ),
        (lambda _, g: g.pop("ER level"), "which genes its network for ER level sees"),
        (lambda _, g: g.clear(), "which genes its network for HER2 sees"),
        (lambda _, g: g["HER2"].update(std=[1, 0, 1]), "genes in .* cannot be read: a selection"),
        (lambda _, g: g.update(HER2=3), "genes in .* cannot be read: no selection"),
        (lambda _, g: g["HER2"].update(token_genes=3), r"needs \(256, 3\)"),
    ],
    ids=["tensor", "infinite", "genes", "header", "scale", "other", "tokens"],
)
def test_what_is_damaged_is_named(
    saved: Path, card: BiomarkerCard, change: Callable[[dict, dict], object], message: str
) -> None:
    rewrite(saved, change)
    with pytest.raises(ModelError, match=message):
        load_multimodal(saved, card)


def test_m_that_the_card_does_not_tell_of_is_neither_written_nor_read(
    saved: Path,
    biomarker_networks: dict[str, PathologyNetwork],
    biomarker_card: BiomarkerCard,
    models: Models,
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match=r"\.multimodal\.\S+ of no target or network"):
        save_biomarkers(biomarker_networks, biomarker_card, tmp_path / "n.safetensors", models)
    saved.with_suffix(".json").write_text(biomarker_card.to_json(), encoding="utf-8")
    with pytest.raises(ModelError, match=r"\.multimodal\.\S+ of no target or network"):
        load_biomarkers(saved)
