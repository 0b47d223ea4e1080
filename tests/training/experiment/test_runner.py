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
from napari_hmkd.training.experiment import pieces, plan, runner, scoring
from napari_hmkd.training.experiment.pieces import FAILED_KAPPA, Place, grade_test, train_piece
from napari_hmkd.training.experiment.plan import QUICK, Piece, student, tries
from napari_hmkd.training.run import write_json

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn_scores")]
TINY = replace(
    QUICK,
    train_cohort=CohortSettings(seed=2, patients=4, tiles_per_patient=4, tile_px=256),
    test_cohort=CohortSettings(seed=32, patients=3, tiles_per_patient=2, tile_px=256),
    width=0.25,
    teacher_epochs=2,
)
LATER = 3600.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "Versuch ä", "cpu", 1)
    for name in ("outcomes", "test"):
        (found.folder / name).mkdir(parents=True)
    return found


def finish(piece: Piece, place: Place, kappa: float) -> None:
    write_json(place.outcome(piece), {"validation_kappa": kappa})


def test_the_best_of_each_group_is_chosen(place: Place) -> None:
    winners = ["none", "hinton-temperature-2", "hmkd-cosine-sum", "dist"]
    for piece in (piece for group in tries() for piece in group):
        finish(piece, place, 0.6 if piece.approach in winners else 0.5)
    assert [piece.approach for piece in runner.choose(place)] == winners


def test_a_piece_that_time_cuts_short_goes_on_and_ends(place: Place) -> None:
    piece = Piece(Labels.TILE, 0)
    assert not train_piece(piece, TINY, place, stop_at=time.time() - 1)
    assert not place.run(piece).exists()
    assert not train_piece(piece, TINY, place, stop_at=time.time() + 0.5)
    assert not place.outcome(piece).exists()
    assert train_piece(piece, TINY, place, stop_at=time.time() + LATER)
    outcome = json.loads(place.outcome(piece).read_text(encoding="utf-8"))
    assert outcome["validation_kappa"] == outcome["best_validation_score"]
    assert place.weights(piece).is_file()
    log = (place.folder / "logs" / f"{piece.name}.txt").read_text(encoding="utf-8")
    assert log.count("epoch 1/2") == log.count("epoch 2/2") == 1
    assert "going on after epoch 1" in log


def test_a_piece_that_fails_loses_and_stops_nothing(place: Place) -> None:
    orphan = student(Labels.TILE, 0, Method.HINTON)  # its teacher was never trained
    assert train_piece(orphan, TINY, place, stop_at=time.time() + LATER)
    assert pieces.validation_kappa(orphan, place) == FAILED_KAPPA
    assert "teacher" in json.loads(place.outcome(orphan).read_text(encoding="utf-8"))["error"]


def test_finished_networks_grade_the_test_patients(place: Place) -> None:
    for piece, build in ((Piece(Labels.TILE, 0), build_teacher), (student(Labels.TILE, 0, Method.DIST), build_student)):  # fmt: skip
        place.run(piece).mkdir(parents=True)
        card = ModelCard(name="m", role=piece.role, width=0.25, mpp=0.92, tile_px=256)
        save(place.weights(piece), build(width=0.25), card)
        assert not grade_test(piece, TINY, place, stop_at=time.time() - 1)
        assert grade_test(piece, TINY, place, stop_at=time.time() + LATER)
        assert len(pieces.read_grades(piece, place)) == 6


@pytest.fixture
def scored(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of two seeds: HM-KD is always right with one, Hinton failed with tile labels."""
    for module in (plan, scoring):
        monkeypatch.setattr(module, "SEEDS", (0, 1))
    source = scoring.ProceduralSource(TINY.test_cohort, Labels.TILE)
    truth = [tile.grade for tile in source.tiles]
    defaults = [group[0] for group in tries()]
    rows = {labels: scoring.rows_of(labels, defaults) for labels in Labels}
    for labels, table in rows.items():
        for piece in (piece for group in table.values() for piece in group):
            failed = labels is Labels.TILE and piece.method is Method.HINTON
            finish(piece, place, FAILED_KAPPA if failed else 0.5)
            right = piece.method is Method.HMKD and piece.seed == 1
            grades = truth if right else [(grade + 1) % 4 for grade in truth]
            write_json(pieces.grades_file(piece, place), grades)
    about = {"command": "COMMAND", "date": "DATE", "hardware": "HARDWARE", "program": "DIGEST"}
    scoring.score(TINY, place, rows, about)
    return place.folder


def test_both_kinds_of_labels_are_scored_on_the_tiles_truth(scored: Path) -> None:
    found = json.loads((scored / scoring.RESULTS).read_text(encoding="utf-8"))
    side = found["slide"]["test"]["Hinton KD"]
    assert side["scores"]["HM-KD"]["accuracy"]["value"] == pytest.approx(0.5)
    assert side["scores"]["Hinton KD"]["accuracy"]["value"] == 0
    assert side["differences"]["HM-KD"]["accuracy"]["value"] == pytest.approx(0.5)
    assert found["tile"]["test"].keys() == {"student alone"}
    with (scored / scoring.GRADES_FILE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert all(row["truth"] == row["tile-hmkd-seed1"] for row in rows)


def test_the_table_names_command_hardware_and_what_failed(scored: Path) -> None:
    table = (scored / scoring.TABLE).read_text(encoding="utf-8")
    assert all(word in table for word in ("COMMAND", "DATE", "HARDWARE", "DIGEST"))
    lines = table.splitlines()
    hinton = next(line for line in lines if line.startswith("| tile | Hinton KD |"))
    assert "failed" in hinton
    hmkd = next(line for line in lines if line.startswith("| slide | HM-KD |"))
    assert "1.000" in hmkd  # the second seed's kappa


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is no experiment's folder"):
        runner.run_experiment(tmp_path, quick=True, jobs=1, minutes=1, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_of_another_size_or_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / runner.PLAN).write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError, match="another size or another version"):
        runner.run_experiment(tmp_path, quick=True, jobs=1, minutes=1, device="cpu")


def test_an_experiment_that_is_being_worked_on_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, begun = tmp_path / "Versuch", []

    def start() -> bool:
        return runner.run_experiment(folder, quick=True, jobs=1, minutes=1, device="cpu")

    def start_another(*_: object) -> None:
        begun.append(folder)
        if len(begun) == 1:
            with pytest.raises(OutputError, match=r"another run is at work in .*Versuch: wait"):
                start()

    monkeypatch.setattr(runner, "_draw_tiles", start_another)
    monkeypatch.setattr(runner, "_train_and_score", lambda *_: False)
    assert not start()
    assert not start()  # it goes on once the first has ended
    assert begun == [folder, folder]
