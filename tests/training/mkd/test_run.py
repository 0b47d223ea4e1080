"""All folds in one run: what it finds, what it leaves, and that a cut changes nothing."""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.mkd.conftest import CohortFiles
from tests.training.mkd.runs import (
    FOLDS,
    ONE_EPOCH,
    ROWS,
    SETTINGS,
    WITHOUT_GENES,
    lines,
    request,
    table,
)

from napari_hmkd.bags.bag import read_bag, write_bag
from napari_hmkd.biomarkers.case_genes import open_genes
from napari_hmkd.biomarkers.prediction import open_biomarkers, predict
from napari_hmkd.errors import DataError, ModelError, OutputError
from napari_hmkd.genes.selection import GeneSelection
from napari_hmkd.model.mkd.files import load_biomarkers, load_multimodal
from napari_hmkd.training.mkd.baselines import BASELINES
from napari_hmkd.training.mkd.config import AdamWSettings, CaseTrainerSettings
from napari_hmkd.training.mkd.inputs import read_inputs
from napari_hmkd.training.mkd.predict import predict_bags
from napari_hmkd.training.mkd.run import train_mkd


@pytest.fixture(scope="module")
def whole(cohort_files: CohortFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never cut short."""
    out = tmp_path_factory.mktemp("Läufe") / "ganz"
    path = train_mkd(request(cohort_files), out, SETTINGS)
    assert path == out / "biomarkers.safetensors"
    return out


@pytest.mark.slow
def test_planted_signal_is_found_and_each_row_has_its_intervals(whole: Path) -> None:
    scores = table(whole)
    assert tuple(scores) == ROWS
    assert all(scores[row]["auc"]["value"] > 0.9 for row in ROWS)
    for row in scores.values():
        assert "value" in row["ece"]  # of all folds together: one has too few cases
        for name in ("auc", "average_precision", "accuracy", "f1", "kappa"):
            score = row[name]
            assert len(score["per_fold"]) == FOLDS
            assert score["interval_95"] or "reason" in score
            low, high = score["interval_over_folds"]
            assert low <= score["value"] <= high
    assert [line["network"] for line in lines(whole / "table.csv")] == list(scores)
    text = (whole / "table.md").read_text(encoding="utf-8")
    assert all(f"| {row} |" in text for row in scores)


@pytest.mark.slow
def test_notes_say_what_columns_are_and_whose_the_epoch_is(whole: Path) -> None:
    told = (whole / "table.md").read_text(encoding="utf-8")
    assert "less that of 'P alone'" in told
    assert "MKD's is that of P, for M and G too" in told
    assert "ERBB2 is among the genes that could be chosen" in told


def test_each_case_is_tested_once_by_every_network_and_no_patient_twice(
    whole: Path, cohort_files: CohortFiles
) -> None:
    tested, folds_of_patient = defaultdict(list), defaultdict(set)
    for number in range(FOLDS):
        for approach in ("mkd", "alone"):
            for line in lines(whole / f"HER2/fold_{number}/{approach}/predictions.csv"):
                tested[approach, line["network"]].append(line["case"])
                folds_of_patient[line["patient"]].add(number)
                assert int(line["label"]) == cohort_files.status[line["case"]]
    assert all(sorted(names) == sorted(cohort_files.status) for names in tested.values())
    assert tested.keys() == {("mkd", "P"), ("mkd", "M"), ("mkd", "G"), ("alone", "P")}
    assert all(len(folds) == 1 for folds in folds_of_patient.values())


def test_a_fold_is_kept_as_the_other_runs_are(whole: Path) -> None:
    assert (whole / "settings.json").is_file()
    for fold in range(FOLDS):
        folder = whole / f"HER2/fold_{fold}/mkd"
        assert {"best.ckpt", "last.ckpt"} <= {
            path.name for path in (folder / "checkpoints").iterdir()
        }
        assert any((folder / "tensorboard").rglob("events.*"))
        epochs = [line for line in lines(folder / "metrics.csv") if line["validation_auc"]]
        assert len(epochs) == SETTINGS.engine.epochs


def test_training_stops_when_validation_gets_no_better(
    cohort_files: CohortFiles, tmp_path: Path
) -> None:
    still = replace(
        WITHOUT_GENES,
        optimiser=AdamWSettings(learning_rate=1e-9),
        engine=CaseTrainerSettings(epochs=9, patience=2),
    )
    train_mkd(request(cohort_files, gene_table=None), tmp_path / "still", still)
    for fold in range(FOLDS):
        path = tmp_path / f"still/HER2/fold_{fold}/alone/outcome.json"
        fit = json.loads(path.read_text(encoding="utf-8"))["fit"]
        assert (fit["best_epoch"], fit["epochs"]) == (1, 3)


def test_what_is_left_out_is_listed_with_its_reason(whole: Path) -> None:
    left = {line["name"]: line["reason"] for line in lines(whole / "exclusions.csv")}
    assert left["stray"].startswith("bag of no case")
    assert left["without-genes"] == "no genes"
    assert left["without-label"] == "no label for HER2"


def test_p_and_m_are_exported_from_the_fold_that_is_best_on_validation(whole: Path) -> None:
    networks, card = load_biomarkers(whole / "biomarkers.safetensors")
    outcomes = [
        json.loads((whole / f"HER2/fold_{k}/mkd/outcome.json").read_text(encoding="utf-8"))
        for k in range(FOLDS)
    ]
    best = int(np.argmax([outcome["validation_auc"]["P"] for outcome in outcomes]))
    assert f"fold {best} of {FOLDS}" in card.training_data
    assert card.targets[0].temperature == outcomes[best]["temperature"]["P"]
    assert (card.encoder, card.patch_px, card.mpp) == ("tiny", 256, 0.5)
    kept = torch.load(whole / f"HER2/fold_{best}/mkd/checkpoints/best.ckpt", weights_only=True)
    for name, weight in networks["HER2"].state_dict().items():
        assert torch.equal(weight, kept["state_dict"][f"pathology.{name}"])
    found = load_multimodal(whole / "biomarkers.safetensors", card)["HER2"]
    for name, weight in found.network.state_dict().items():
        assert torch.equal(weight, kept["state_dict"][f"multimodal.{name}"])
    assert card.targets[0].temperature_with_genes == outcomes[best]["temperature"]["M"]
    chosen = json.loads((whole / f"HER2/fold_{best}/genes.json").read_text(encoding="utf-8"))
    assert found.genes.to_json() == GeneSelection.from_json(chosen).to_json()


@pytest.mark.slow
def test_pauses_change_no_bit(whole: Path, cohort_files: CohortFiles, tmp_path: Path) -> None:
    out = tmp_path / "in Stücken"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "HER2/fold_1")
    for name in ("table.json", "biomarkers.safetensors"):
        (out / name).unlink()
    for _ in range(SETTINGS.engine.epochs + 1):  # through the fold's first piece, into its second
        paused = train_mkd(
            request(cohort_files), out, SETTINGS, resume=True, deadline=time.monotonic()
        )
        assert paused is None
    assert not (out / "table.json").exists()
    train_mkd(request(cohort_files), out, SETTINGS, resume=True)
    answers = [f"HER2/fold_1/{approach}/predictions.csv" for approach in ("mkd", "alone")]
    for name in (*answers, "biomarkers.safetensors", "table.csv", "cases.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    kept = [torch.load(run / "HER2/fold_1/mkd/checkpoints/last.ckpt") for run in (out, whole)]
    for name, weight in kept[0]["state_dict"].items():
        assert torch.equal(weight, kept[1]["state_dict"][name]), name


@pytest.mark.slow
def test_a_finished_run_trains_no_more_and_takes_baselines_in_addition(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "Lauf"
    train_mkd(request(cohort_files), out, ONE_EPOCH)
    first = {path: path.stat().st_mtime_ns for path in out.rglob("*.ckpt")}
    capsys.readouterr()
    train_mkd(request(cohort_files, baselines=True), out, ONE_EPOCH, resume=True)
    assert "epoch 1/1" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert tuple(table(out)) == (*ROWS, *BASELINES)


def test_genes_are_chosen_for_each_fold_and_those_left_out_for_none(
    cohort_files: CohortFiles, whole: Path
) -> None:
    settings = replace(SETTINGS, genes=replace(SETTINGS.genes, exclude_genes="ERBB2, gene3"))
    inputs = read_inputs(request(cohort_files), settings)
    (data,) = inputs.targets
    chosen = [
        json.loads((whole / f"HER2/fold_{k}/genes.json").read_text(encoding="utf-8"))["genes"]
        for k in range(FOLDS)
    ]
    assert len(set(map(tuple, chosen))) > 1
    assert any("ERBB2" in genes for genes in chosen)
    assert inputs.notes(settings.genes)[0].endswith("left out: ERBB2, gene3.")
    for fold in data.folds:
        others = inputs.select_genes(data, fold, settings).genes
        assert {"ERBB2", "gene3"}.isdisjoint(others)
        assert len(others) == SETTINGS.genes.top_genes


def test_genes_decide_case_by_case_which_network_predicts(
    whole: Path, cohort_files: CohortFiles, tmp_path: Path
) -> None:
    rows = cohort_files.genes.read_text(encoding="utf-8").splitlines()
    some = tmp_path / "einige.csv"
    some.write_text("\n".join(rows[:11]) + "\n", encoding="utf-8")  # of ten cases
    found = {}
    for name, genes in (("P", None), ("M", some)):
        predict_bags(whole, cohort_files.bags, genes, tmp_path / f"{name}.csv", "cpu")
        found[name] = {
            line["bag"]: line for line in lines(tmp_path / f"{name}.csv") if line["class"] == "1"
        }
    assert {line["network"] for line in found["P"].values()} == {"P"}
    with_genes = {bag for bag, line in found["M"].items() if line["network"] == "M"}
    assert with_genes == set(list(cohort_files.status)[:10])
    for bag in found["M"].keys() - with_genes:
        alone, line = (found[name][bag] for name in ("P", "M"))
        # Sums in float32 may differ in their last digit from one call to the next.
        assert float(line["probability"]) == pytest.approx(float(alone["probability"]), rel=1e-5)
    ranked = sorted(found["M"].values(), key=lambda line: float(line["probability"]))
    labels = [cohort_files.status[line["bag"]] for line in ranked if line["bag"] in with_genes]
    assert labels == sorted(labels)


def test_genes_on_another_scale_are_warned_of(
    whole: Path, cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = cohort_files.genes.read_text(encoding="utf-8").splitlines()
    raw = tmp_path / "raw.csv"
    for unlike in ([], [2, 5]):
        for number in unlike:
            name, *values = rows[number].split(",")
            rows[number] = ",".join([name, *(str(2 ** (10 + float(value))) for value in values)])
        raw.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        predict_bags(whole, cohort_files.bags, raw, tmp_path / f"{len(unlike)}.csv", "cpu")
        told = capsys.readouterr().err
        assert ("warning: half of the genes of case02, case05 in raw.csv" in told) == bool(unlike)
        assert ("on the scale of training" in told) == bool(unlike)


def test_predictions_make_their_folder_or_are_refused_before_a_case_is_judged(
    whole: Path, cohort_files: CohortFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_bags(whole, cohort_files.bags, None, tmp_path / "new/er/P.csv", "cpu")
    assert len(lines(tmp_path / "new/er/P.csv")) == 2 * len(list(cohort_files.bags.iterdir()))
    monkeypatch.delattr("napari_hmkd.training.mkd.predict.predict")
    with pytest.raises(OutputError, match=r"the folder .* cannot be made"):
        predict_bags(whole, cohort_files.bags, None, tmp_path / "new/er/P.csv/P.csv", "cpu")


@pytest.mark.parametrize("network", ["P", "M"])
def test_a_slide_is_judged_by_the_exported_networks_as_its_bag_is(
    network: str, whole: Path, cohort_files: CohortFiles, tmp_path: Path
) -> None:
    model, name = open_biomarkers(whole / "biomarkers.safetensors"), next(iter(cohort_files.status))
    genes = cohort_files.genes if network == "M" else None
    predict_bags(whole, cohort_files.bags, genes, tmp_path / "out.csv", "cpu")
    expected = [
        float(line["probability"]) for line in lines(tmp_path / "out.csv") if line["bag"] == name
    ]
    of_slide = genes and open_genes(genes, model.path, model.card).of_slide(f"{name}.svs")
    (found,) = predict(read_bag(cohort_files.bags / f"{name}.h5"), model, "cpu", of_slide)
    assert found.network == network
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)


@pytest.mark.parametrize("with_genes", [False, True])
def test_slides_of_a_case_are_judged_together(
    with_genes: bool, whole: Path, cohort_files: CohortFiles, tmp_path: Path
) -> None:
    names, genes = list(cohort_files.status)[:4], cohort_files.genes if with_genes else None
    for name in names:
        bag = read_bag(cohort_files.bags / f"{name}.h5")
        for part, own in enumerate((slice(None, 2), slice(2, None))):
            half = replace(bag, features=bag.features[own], coords=bag.coords[own])
            write_bag(tmp_path / "bags" / f"{name}_{part}.h5", half)
    found = {}
    for name, bags, cases in (
        ("uncut", cohort_files.bags, None),
        ("each", tmp_path / "bags", None),
        ("together", tmp_path / "bags", cohort_files.labels),
    ):
        predict_bags(whole, bags, genes, tmp_path / f"{name}.csv", "cpu", cases)
        found[name] = {
            (line["bag"], line["class"]): line for line in lines(tmp_path / f"{name}.csv")
        }
    assert len(found["together"]) == 2 * len(names)
    assert len(found["each"]) == 2 * len(found["together"])
    for (slides, status), line in found["together"].items():
        case, first = line["case"], slides.split(";")[0]
        assert slides == f"{case}_0;{case}_1"
        uncut, alone = found["uncut"][case, status], found["each"][first, status]
        probability = float(line.pop("probability"))
        assert probability == pytest.approx(float(uncut["probability"]), rel=1e-4)
        assert probability != pytest.approx(float(alone["probability"]), rel=1e-3)
        assert (alone["case"], uncut["case"]) == ("", "")
        assert (line["network"], line["genes"]) == (("M", case) if with_genes else ("P", ""))


def test_bags_find_the_genes_of_their_tcga_patient(
    whole: Path, cohort_files: CohortFiles, tmp_path: Path
) -> None:
    bags, genes = tmp_path / "bags", tmp_path / "genes.csv"
    bags.mkdir()
    name = next(iter(cohort_files.status))
    for slide in ("TCGA-A1-A0SB-01Z-00-DX1", "TCGA-A1-A0SC-01Z-00-DX1"):
        shutil.copy(cohort_files.bags / f"{name}.h5", bags / f"{slide}.h5")
    header, *rows = cohort_files.genes.read_text(encoding="utf-8").splitlines()
    aliquots = ("TCGA-A1-A0SB-01A-11R", "TCGA-A1-A0SC-01A-11R", "TCGA-A1-A0SC-01B-11R")
    named = [f"{new},{row.partition(',')[2]}" for new, row in zip(aliquots, rows, strict=False)]
    genes.write_text("\n".join([header, *named]) + "\n", encoding="utf-8")
    predict_bags(whole, bags, genes, tmp_path / "out.csv", "cpu")
    found = {
        line["bag"][:12]: (line["network"], line["genes"]) for line in lines(tmp_path / "out.csv")
    }
    assert found == {"TCGA-A1-A0SB": ("M", aliquots[0]), "TCGA-A1-A0SC": ("P", "")}


def test_bags_of_another_encoder_are_not_predicted(
    whole: Path, cohort_files: CohortFiles, tmp_path: Path
) -> None:
    bags = tmp_path / "bags"
    shutil.copytree(cohort_files.bags, bags)
    with h5py.File(next(bags.glob("*.h5")), "r+") as file:
        file["coords"].attrs["encoder_sha256"] = "0" * 64
    with pytest.raises(ModelError, match="has features of"):
        predict_bags(whole, bags, None, tmp_path / "out.csv", "cpu")


def test_another_run_is_neither_overwritten_nor_mixed(
    whole: Path, cohort_files: CohortFiles
) -> None:
    asked = request(cohort_files, baselines=True)
    with pytest.raises(OutputError, match="--resume"):
        train_mkd(asked, whole, SETTINGS)
    with pytest.raises(DataError, match=rf"engine\.epochs {SETTINGS.engine.epochs}, now 1"):
        train_mkd(asked, whole, ONE_EPOCH, resume=True)
