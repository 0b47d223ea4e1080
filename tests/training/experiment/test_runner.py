"""The experiment goes on where it stopped, chooses on validation, and looks at the test once."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import OutputError
from napari_hmkd.model import ModelCard, build_student, build_teacher, save
from napari_hmkd.training.config import CohortSettings, Labels, Method
from napari_hmkd.training.experiment import plan, runner, scoring
from napari_hmkd.training.experiment.pieces import Place, is_finished, run_piece
from napari_hmkd.training.experiment.plan import QUICK, Piece, candidates, student

TINY = replace(
    QUICK,
    train_cohort=CohortSettings(seed=21, patients=12, tiles_per_patient=2, tile_px=256),
    test_cohort=CohortSettings(seed=22, patients=3, tiles_per_patient=2, tile_px=256),
    width=0.25,
    teacher_epochs=2,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "Versuch ä", "cpu", 1)


def finish(piece: Piece, place: Place, kappa: float) -> None:
    """The files of a finished run, with a fresh network."""
    folder = place.run(piece.name)
    folder.mkdir(parents=True)
    fit = {"fit": {"best_validation_kappa": kappa}}
    (folder / "evaluation.json").write_text(json.dumps(fit), encoding="utf-8")
    role, build = ("teacher", build_teacher) if piece.method is None else ("student", build_student)
    card = ModelCard(name=piece.name, role=role, width=0.25, mpp=0.92, tile_px=256)
    save(folder / f"{role}.safetensors", build(width=0.25), card)


def test_the_best_on_validation_are_chosen_for_each_kind_of_labels(place: Place) -> None:
    winners = {
        Labels.TILE: (Method.DIST, "cosine-sum"),
        Labels.SLIDE: (Method.FITNETS, "rate-half"),
    }
    for labels in Labels:
        for piece in candidates(labels):
            wins = piece.variant in winners[labels] or (
                not piece.variant and piece.method in winners[labels]
            )
            finish(piece, place, 0.6 if wins else 0.5)
        rival, variant = runner.choose(labels, place)
        assert (rival.method, variant.variant) == winners[labels]
        assert {rival.labels, variant.labels} == {labels}


def test_a_piece_that_time_cuts_short_goes_on_and_ends(place: Place) -> None:
    piece = Piece(Labels.TILE, 0)
    assert not run_piece(piece, TINY, place, stop_at=time.time() - 1)
    assert not place.run(piece.name).exists()
    assert not run_piece(piece, TINY, place, stop_at=time.time() + 0.5)
    assert not is_finished(piece, place)
    assert run_piece(piece, TINY, place, stop_at=time.time() + 3600)
    assert is_finished(piece, place)
    log = (place.folder / "logs" / f"{piece.name}.txt").read_text(encoding="utf-8")
    assert log.count("epoch 1/2") == log.count("epoch 2/2") == 1
    assert "going on after epoch 1" in log


def test_test_patients_are_scored_on_their_tiles_truth(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (plan, scoring):
        monkeypatch.setattr(module, "SEEDS", (0,))
    chosen = []
    for labels in Labels:
        chosen += [student(labels, 0, Method.DIST), student(labels, 0, Method.HMKD, "cosine-sum")]
    for labels in Labels:
        for pieces in scoring.approaches(labels, chosen).values():
            for piece in pieces:
                finish(piece, place, 0.5)
    scoring.score(TINY, place, chosen)
    with (place.folder / scoring.GRADES).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {"truth", "oracle", "tile-teacher-seed0", "slide-hmkd-cosine-sum-seed0"} <= set(rows[0])
    found = json.loads((place.folder / scoring.RESULTS).read_text(encoding="utf-8"))
    for labels in ("tile", "slide"):
        scores = found[labels]["test"]["Hinton KD"]["scores"]
        right = [row["truth"] == row[f"{labels}-hinton-seed0"] for row in rows]
        assert scores["Hinton KD"]["accuracy"]["value"] == pytest.approx(sum(right) / 6, abs=1e-4)
        assert scores["oracle"] == found["tile"]["test"]["Hinton KD"]["scores"]["oracle"]
    table = (place.folder / scoring.TABLE).read_text(encoding="utf-8")
    assert table.count("\n| tile |") == table.count("\n| slide |") == 7


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is no experiment's folder"):
        runner.run_experiment(tmp_path, quick=True, jobs=1, minutes=1, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / runner.PLAN).write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError, match="another size"):
        runner.run_experiment(tmp_path, quick=True, jobs=1, minutes=1, device="cpu")
