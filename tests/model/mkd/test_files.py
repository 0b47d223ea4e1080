"""Biomarker models go to files and come back; broken files are refused with their reason."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_hmkd.bags.packing import pack
from napari_hmkd.errors import ModelError, OutputError
from napari_hmkd.model import registry
from napari_hmkd.model.mkd import (
    BiomarkerCard,
    PathologyNetwork,
    load_biomarkers,
    save_biomarkers,
)

Networks = dict[str, PathologyNetwork]


@pytest.fixture
def saved(biomarker_networks: Networks, biomarker_card: BiomarkerCard, tmp_path: Path) -> Path:
    """That model as a file, in a folder whose name is not plain."""
    path = tmp_path / "Modèle für 組織" / "my model.safetensors"
    save_biomarkers(biomarker_networks, biomarker_card, path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def test_round_trip_is_exact(
    saved: Path, biomarker_networks: Networks, biomarker_card: BiomarkerCard
) -> None:
    found, card = load_biomarkers(saved)
    assert card == biomarker_card
    assert list(found) == ["HER2", "ER level"]
    bags = pack([torch.randn(5, biomarker_card.feature_dim)])
    for target, network in found.items():
        assert not network.training
        assert torch.equal(network(bags).logits, biomarker_networks[target].eval()(bags).logits)


def test_tensors_are_named_after_their_target(saved: Path) -> None:
    names = load_file(saved).keys()
    assert {name.partition(".")[0] for name in names} == {"HER2", "ER level"}
    assert "HER2.classify.weight" in names


def test_only_weights_and_card_are_left(saved: Path) -> None:
    assert sorted(os.listdir(saved.parent)) == ["my model.json", "my model.safetensors"]


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    load_biomarkers(saved)
    assert torch.equal(torch.rand(1), wanted)


def test_packaged_models_are_found_by_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "WEIGHTS", saved.parent)
    monkeypatch.setattr(registry, "PACKAGED_BIOMARKERS", {"demo": saved.name})
    assert load_biomarkers("demo")[1].name == "tiny"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda networks: networks.pop("HER2"), "target HER2, lacks the tensor"),
        (lambda networks: networks.update(PR=networks["HER2"]), "of no target"),
        (lambda networks: networks.update({"ER level": networks["HER2"]}), r"needs \(3"),
        (lambda networks: networks["HER2"].classify.bias.data.fill_(torch.nan), "not finite"),
    ],
    ids=["missing", "unknown", "classes", "NaN"],
)
def test_networks_that_are_not_the_cards_are_not_written(
    biomarker_networks: Networks,
    biomarker_card: BiomarkerCard,
    tmp_path: Path,
    change: Callable[[Networks], object],
    message: str,
) -> None:
    change(biomarker_networks)
    with pytest.raises(ModelError, match=f"to be saved.*{message}"):
        save_biomarkers(biomarker_networks, biomarker_card, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_only_safetensors_are_written(
    biomarker_networks: Networks, biomarker_card: BiomarkerCard, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"\.safetensors"):
        save_biomarkers(biomarker_networks, biomarker_card, tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("HER2.classify.bias"), "target HER2, lacks the tensor classify.bias"),
        (lambda t: t.update({"PR.classify.bias": torch.zeros(2)}), "PR.classify.bias of no target"),
        (lambda t: t.update({"HER2.classify.bias": torch.zeros(7)}), r"\(7,\).*needs \(2,\)"),
        (lambda t: t["HER2.classify.bias"].fill_(torch.nan), "not finite"),
    ],
    ids=["missing", "unknown", "shape", "NaN"],
)
def test_weights_that_do_not_fit_are_refused(
    saved: Path, change: Callable[[Mapping[str, torch.Tensor]], object], message: str
) -> None:
    rewrite(saved, change)
    with pytest.raises(ModelError, match=message):
        load_biomarkers(saved)


def test_a_card_of_other_features_names_both_shapes(
    saved: Path, biomarker_card: BiomarkerCard
) -> None:
    other = dataclasses.replace(biomarker_card, feature_dim=20)
    saved.with_suffix(".json").write_text(other.to_json(), encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"embed\.0\.weight of shape \(256, 12\).*needs \(256, 20\)"
    ):
        load_biomarkers(saved)


def test_a_missing_or_broken_card_is_named(saved: Path) -> None:
    saved.with_suffix(".json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"my model\.json: biomarker card: lacks .*encoder"):
        load_biomarkers(saved)
    saved.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"needs its card my model\.json"):
        load_biomarkers(saved)


def test_files_of_another_kind_are_refused(saved: Path) -> None:
    saved.write_bytes(os.urandom(1000))
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_biomarkers(saved)


def test_a_model_that_is_not_there_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="one of demo"):
        load_biomarkers(tmp_path / "nowhere.safetensors")
