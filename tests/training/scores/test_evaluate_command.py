"""`evaluate` from weights and data to a folder of scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")
pytest.importorskip("matplotlib", reason="needs the extra `train`")
pytest.importorskip("jinja2", reason="needs the extra `train`")

from napari_hmkd.errors import DataError, ModelError, OutputError
from napari_hmkd.model import ModelCard, build_student, build_teacher, save
from napari_hmkd.training import store
from napari_hmkd.training.config import CohortSettings, ParallelComputeSettings, StoredDataSettings
from napari_hmkd.training.scores import evaluation
from napari_hmkd.training.scores.evaluation import evaluate
from napari_hmkd.training.scores.predictions import read_predictions
from napari_hmkd.training.sources.opening import open_source

COHORT = CohortSettings(seed=3, patients=3, tiles_per_patient=2, tile_px=256)
PIXELS = StoredDataSettings()
COMPUTE = ParallelComputeSettings(batch_size=4, device="cpu")


def save_network(path: Path, role: str = "student", mpp: float = 0.92) -> Path:
    torch.manual_seed(0)
    build = build_teacher if role == "teacher" else build_student
    card = ModelCard(
        name="fresh", role=role, width=0.25, mpp=mpp, tile_px=256, temperature=1.5,
        conformal_thresholds=(0.1, 0.2, 0.3, 0.4), notice="random weights, research use only",
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, build(width=0.25).eval(), card)
    return path


def write_split(folder: Path, parts: tuple[str, ...]) -> None:
    """The split.csv of a run over the cohort, a part for each patient."""
    tiles = open_source("procedural", COHORT, PIXELS).tiles
    patients = list(dict.fromkeys(tile.patient for tile in tiles))
    with (folder / "split.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("tile", "patient", "grade", "split", "he_digest", "ihc_digest"))
        for tile in tiles:
            part = parts[patients.index(tile.patient)]
            writer.writerow((tile.name, tile.patient, tile.grade, part, "", ""))


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """Weights of a run over the same cohort; its last patient was tested."""
    path = save_network(tmp_path / "Lauf ä" / "student.safetensors")
    write_split(path.parent, ("train", "validation", "test"))
    return path


def score(graders: dict[str, Path], out: Path | None = None, **more) -> dict:
    return evaluate("procedural", graders, out, COHORT, PIXELS, COMPUTE, **more)


@pytest.mark.slow
def test_other_patients_are_scored_by_oracle_teacher_and_student(tmp_path: Path) -> None:
    graders = {
        "teacher": save_network(tmp_path / "teacher.safetensors", "teacher"),
        "student": save_network(tmp_path / "student.safetensors"),
    }
    out = tmp_path / "neue Auswertung"
    found = score(graders, out)
    assert list(found["graders"]) == ["oracle", "teacher", "student"]
    assert (found["tiles"], found["patients"], found["part"]) == (6, 3, "test")
    assert found["labels"] == "tile"
    assert "not checked" in found["part_note"]
    assert found["notice"] == "random weights, research use only"
    assert found["graders"]["oracle"]["accuracy"]["value"] > 0.3
    assert found["graders"]["student"]["coverage"]["value"] is not None
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["tiles"] == 6
    tiles, answers = read_predictions(out / "predictions.csv")
    assert len(tiles) == 6
    assert list(answers) == ["oracle", "teacher", "student"]
    assert "oracle" in (out / "evaluation.html").read_text(encoding="utf-8")


def test_a_teacher_alone_is_scored(tmp_path: Path) -> None:
    found = score({"teacher": save_network(tmp_path / "teacher.safetensors", "teacher")})
    assert list(found["graders"]) == ["oracle", "teacher"]


def test_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to score: name a student, a teacher or both"):
        score({}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_patients_that_the_run_held_out_are_scored(student: Path) -> None:
    found = score({"student": student})
    assert (found["tiles"], found["patients"]) == (2, 1)
    assert found["tiles_of_other_parts"] == {"train": 2, "validation": 2}
    assert found["split"].startswith("patients that neither trained")
    assert found["part_note"].startswith("tiles held out of training")


def test_patients_are_not_called_others_where_the_training_did_not_tell_its_own(tmp_path) -> None:
    weights = save_network(tmp_path / "student.safetensors")
    (tmp_path / "split.csv").write_text(
        "tile,patient,grade,split,he_digest,ihc_digest\nsomewhere,,0,train,,\n", encoding="utf-8"
    )
    found = evaluate("procedural", {"student": weights}, None, COHORT, PIXELS, COMPUTE)
    assert "names no patient" in found["split"]


def test_another_part_is_scored_when_asked_and_its_scores_called_optimistic(student) -> None:
    found = score({"student": student}, part="validation")
    assert found["tiles"] == 2
    assert "optimistic" in found["part_note"]


@pytest.mark.parametrize(("roles", "compared", "kept"), [(1, False, 4), (1, True, 0), (2, True, 4)])
def test_memory_is_for_tiles_that_are_looked_at_more_than_once(
    bci_folder, tmp_path: Path, monkeypatch, roles: int, compared: bool, kept: int
) -> None:
    names = ("student", "teacher")[:roles]
    graders = {role: save_network(tmp_path / f"{role}.safetensors", role) for role in names}
    if compared:
        lines = "tile,patient,grade,split,he_digest,ihc_digest\nanother,,,train,00,\n"
        (tmp_path / "split.csv").write_text(lines)
    rooms = []
    opened = store.MemoryStore
    monkeypatch.setattr(
        store, "MemoryStore", lambda source, room: rooms.append(room) or opened(source, room)
    )
    data = str(bci_folder(train=0, test=1))
    evaluate(data, graders, None, COHORT, StoredDataSettings(mpp=0.92), COMPUTE)
    assert rooms == [kept]


@pytest.mark.parametrize("memory_gb", [0, 8])
def test_an_unreadable_picture_is_told_before_a_tile_is_graded_and_nothing_is_written(
    bci_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_gb: float
) -> None:
    student = save_network(tmp_path / "student.safetensors")
    data = bci_folder(train=0, test=2)
    last = sorted((data / "HE" / "test").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-200])
    monkeypatch.setattr(evaluation, "predict_logits", lambda *given: pytest.fail("was graded"))
    pixels = StoredDataSettings(mpp=0.92, memory_gb=memory_gb)
    with pytest.raises(DataError, match=r"cannot be decoded") as caught:
        evaluate(str(data), {"student": student}, tmp_path / "out", COHORT, pixels, COMPUTE)
    assert str(last) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_cache_of_the_whole_cohort_gives_the_same_answers(student, tmp_path: Path) -> None:
    pixels = StoredDataSettings(cache=tmp_path / "cache ü")
    cached = evaluate("procedural", {"student": student}, None, COHORT, pixels, COMPUTE)
    assert len(list(pixels.cache.glob("tiles-*"))) == 1
    assert cached == score({"student": student})


def test_a_folder_that_cannot_be_is_refused_before_a_tile_is_graded(
    student: Path, impossible_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "predict_logits", lambda *given: pytest.fail("was graded"))
    with pytest.raises(OutputError, match=r"cannot be (made|looked into)") as caught:
        score({"student": student}, impossible_folder)
    assert str(impossible_folder) in str(caught.value)


def test_patients_of_the_training_are_refused_and_nothing_is_written(student, tmp_path) -> None:
    write_split(student.parent, ("train", "validation", "calibration"))
    with pytest.raises(DataError, match="were used to train"):
        score({"student": student}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"part": "tset"}, DataError, "--split must be one of"),
        ({"out": "full"}, OutputError, "not empty"),
        ({"role": "teacher"}, ModelError, "holds a student"),
        ({"mpp": 0.5}, DataError, "trained on tiles of 256 px at 0.5"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    student, tmp_path: Path, change: dict, error: type[Exception], message: str
) -> None:
    out = tmp_path / "out"
    if change.pop("out", None):
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    if mpp := change.pop("mpp", None):
        save_network(student, mpp=mpp)
    with pytest.raises(error, match=message):
        score({change.pop("role", "student"): student}, out, **change)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bci_folder_s_own_test_part_is_scored(bci_folder, tmp_path: Path) -> None:
    data = bci_folder(train=2, test=1)
    student = save_network(tmp_path / "student.safetensors", mpp=0.46)
    found = evaluate(str(data), {"student": student}, None, COHORT, PIXELS, COMPUTE)
    assert found["tiles_per_grade"] == {"0": 1, "1+": 1, "2+": 1, "3+": 1}
    assert found["tiles_of_other_parts"] == {"train": 8}
    assert found["patients"] is None
    assert found["split"].startswith("not a patient-level split")
    assert "too narrow" in found["intervals"]
    assert found["labels"] == "slide"
