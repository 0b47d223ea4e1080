"""Runs of tissue alone, of one target and of two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.mkd.conftest import CohortFiles
from tests.training.mkd.runs import WITHOUT_GENES, request, table

from napari_hmkd.model.mkd.files import load_biomarkers
from napari_hmkd.training.mkd import bag_store
from napari_hmkd.training.mkd.predict import predict_bags
from napari_hmkd.training.mkd.run import train_mkd


def test_without_genes_tissue_alone_is_learned_and_spoken_of(
    cohort_files: CohortFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_better = "napari_hmkd.training.mkd.fold_run.temperature_or_one"
    monkeypatch.setattr(no_better, lambda *_: 20.0)
    out = tmp_path / "ohne Gene"
    train_mkd(request(cohort_files, gene_table=None), out, WITHOUT_GENES)
    assert table(out).keys() == {"P alone"}
    assert not list(out.rglob("genes.json"))
    told = (out / "table.md").read_text(encoding="utf-8")
    assert "MKD" not in told
    assert "reference" not in told, "there is no such column"
    assert "on the validation part the network does no better than chance" in told
    assert "F1 and average precision are of the class 1, the second of 0 and 1" in told


def test_ordinal_targets_are_learned_beside_binary_ones(
    cohort_files: CohortFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, classes = tmp_path / "zwei Ziele", {"grade": ("low", "middle", "high")}
    asked = request(
        cohort_files,
        targets=("HER2", "grade"),
        gene_table=None,
        classes=classes,
        definitions={"grade": "of nothing"},
    )
    train_mkd(asked, out, WITHOUT_GENES)
    networks, card = load_biomarkers(out / "biomarkers.safetensors")
    assert not card.takes_genes
    assert networks.keys() == {"HER2", "grade"}
    assert card.targets[1].ordinal
    assert card.targets[1].definition == "of nothing"
    assert card.targets[0].definition.startswith("HER2 as the label table")
    assert card.targets[1].classes == classes["grade"]
    scores = table(out, "grade")["P alone"]
    assert scores["kappa"]["value"] is not None
    assert 0 <= scores["mae"]["value"] <= 2
    binary, ordinal = (out / "table.md").read_text(encoding="utf-8").split("\n### ")
    assert "| MAE, classes |" in ordinal
    assert "Training does not know the order" in ordinal
    assert "MAE" not in binary
    assert "F1 and average precision are of the class 1" in binary
    assert "F1 is the mean of all classes" in ordinal
    assert "of the class" not in ordinal.partition("- Means over")[0]
    read, read_features = [], bag_store.read_features

    def counted(path: Path, into: np.ndarray) -> None:
        read.append(path)
        read_features(path, into)

    monkeypatch.setattr(bag_store, "read_features", counted)
    predict_bags(out, cohort_files.bags, None, tmp_path / "P.csv", "cpu")
    assert sorted(read) == sorted(cohort_files.bags.iterdir()), "once for both targets"
