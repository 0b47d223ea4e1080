"""`napari-hmkd-train` from data to a finished model, and everything it refuses."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.wording import GRADE_NAMES

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("torchmetrics", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.model import ModelCard, build_student, build_teacher, load, save
from napari_hmkd.training import workflow
from napari_hmkd.training.cli import main
from napari_hmkd.training.config import CohortSettings, Labels, StoredDataSettings
from napari_hmkd.training.data import PairDataset
from napari_hmkd.training.graders import Grader, predict_logits
from napari_hmkd.training.scores.calibration import calibrate
from napari_hmkd.training.sources.procedural import ProceduralSource
from napari_hmkd.training.store import open_store
from napari_hmkd.training.taught import SEPARATE

COHORT = (
    "procedural --cohort-seed 2 --patients 4 --tiles-per-patient 4 --tile-px 256 --mpp 0.92 "
    "--test-share 0"
).split()
QUICK = "--epochs 1 --batch-size 4 --width 0.25 --device cpu".split()
TINY = "--method none --student timm:test_resnet --epochs 1 --batch-size 4 --device cpu".split()
# Of 20 tiles, so that each part has one of each grade.
SHARES = "--validation-share 0.2 --calibration-share 0.2 --test-share 0".split()
PROCEDURAL_NOTICE = "trained on procedural tissue, not for real tissue, research use only"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained teacher and its student, both on the procedural cohort, in one cache."""
    folder = tmp_path_factory.mktemp("Läufe 1")
    cache = ("--cache", folder / "cache")
    with pytest.MonkeyPatch.context() as undrawn:  # the student's page has its pictures
        undrawn.setattr("napari_hmkd.training.scores.page.pictures", lambda *_: [])
        assert run("teacher", *COHORT, *QUICK, *cache, "--out", folder / "teacher", "--half") == 0
    teacher = folder / "teacher" / "teacher.safetensors"
    student = ("student", *COHORT, *QUICK, *cache, "--out", folder / "student")
    assert run(*student, "--teacher", teacher, "--optimiser", "adamw") == 0
    return folder


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def metrics(run_folder: Path) -> set[str]:
    with (run_folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return set(next(csv.reader(file)))


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_run_leaves_a_model_that_loads(folder: Path, role: str) -> None:
    network, card = load(folder / role / f"{role}.safetensors")
    assert not network.training
    assert (card.role, card.width, card.tile_px, card.mpp) == (role, 0.25, 256, 0.92)
    assert card.notice == PROCEDURAL_NOTICE
    assert card.training_data.startswith("procedural tissue, seed 2, 4 patients, 16 tiles")
    assert 0.05 <= card.temperature <= 20


def test_the_card_is_calibrated_for_the_file_that_is_shipped(folder: Path) -> None:
    """In half precision here: the network that was trained would fit another temperature."""
    weights = folder / "teacher" / "teacher.safetensors"
    network, card = load(weights)
    convolution = network.state_dict()["head.embed.weight"]
    assert convolution.half().float().equal(convolution)
    with (weights.parent / "split.csv").open(newline="", encoding="utf-8") as file:
        names = {row["tile"] for row in csv.DictReader(file) if row["split"] == "calibration"}
    cohort = CohortSettings(seed=2, patients=4, tiles_per_patient=4, tile_px=256)
    source = ProceduralSource(cohort, Labels.TILE)
    held = np.array([i for i, tile in enumerate(source.tiles) if tile.name in names])
    store = open_store(source, StoredDataSettings(cache=folder / "cache"))
    dataset = PairDataset(store, source.tiles, held)
    logits = predict_logits(Grader(network, card), dataset, 4, torch.device("cpu"))
    found = calibrate(logits, dataset.grades, card.conformal_level)
    assert (card.temperature, card.conformal_thresholds) == (found.temperature, found.thresholds)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_here", "undrawn_attention")
def test_pairs_without_grades_are_learned_from_the_teacher_alone(
    folder: Path, mist_folder, tmp_path: Path, capsys
) -> None:
    data = (mist_folder(train=8, val=4, test=2), "--mpp", 0.92)
    teacher, out = folder / "teacher" / "teacher.safetensors", tmp_path / "run"
    student = ("student", *data, *QUICK, "--calibration-share", 0.2, "--teacher", teacher)
    assert run(*student, "--out", out) == 2
    assert "has no grade" in capsys.readouterr().err
    assert run(*student, "--cross-entropy", 0, "--out", out) == 0
    assert "train_cross_entropy" not in metrics(out)
    _, card = load(out / "student.safetensors")
    assert (card.temperature, card.conformal_thresholds) == (1.0, ())
    found = read_json(out / "evaluation.json")
    assert (found["tiles"], found["tiles_without_label"], found["labels"]) == (0, 2, "none")


def test_the_teachers_split_is_recorded(folder: Path) -> None:
    assert read_json(folder / "student" / "evaluation.json")["teacher_split"] == SEPARATE
    assert "teacher_split" not in read_json(folder / "teacher" / "evaluation.json")


def test_a_teacher_of_another_split_is_refused(folder: Path, tmp_path: Path, capsys) -> None:
    out, teacher = tmp_path / "run", tmp_path / "Lehrer"
    shutil.copytree(folder / "teacher", teacher)
    split = (teacher / "split.csv").read_text(encoding="utf-8")
    swapped = {"train": "calibration", "calibration": "train"}
    other = re.sub(
        r"\b(train|calibration)(?=,,$)", lambda part: swapped[part[0]], split, flags=re.M
    )
    (teacher / "split.csv").write_text(other, encoding="utf-8")
    student = ("student", *COHORT, *QUICK, "--teacher", teacher / "teacher.safetensors")
    assert run(*student, "--out", out) == 2
    assert "4 of 4 calibration tiles" in (said := capsys.readouterr().err)
    assert "train the teacher with the same split or fold" in said
    assert not out.exists()


def test_teacher_and_student_share_one_cache(folder: Path) -> None:
    assert len(list((folder / "cache").glob("tiles-*"))) == 1


def test_a_run_leaves_its_settings_split_curves_and_scores(folder: Path) -> None:
    student = folder / "student"
    settings = read_json(student / "settings.json")
    assert settings["optimiser"]["learning_rate"] == 1e-3
    assert settings["optimiser"]["weight_decay"] == 0.05
    assert settings["data"]["labels"] == "tile"
    assert settings["engine"]["precision"] == "32-true"
    assert torch.__version__.startswith(settings["versions"]["torch"])
    with (student / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"train", "validation", "calibration"}
    assert len({row["patient"] for row in rows}) == 4
    terms = {"train_cross_entropy", "train_logits_kl", "train_cosine", "train_attention"}
    assert terms | {"train_loss", "validation_kappa", "validation_accuracy"} <= metrics(student)
    scored = read_json(student / "evaluation.json")
    assert scored["split"].startswith("split by patient")
    assert scored["fit"]["steps_per_second"] > 0
    assert 0 <= scored["fit"]["waiting_share"] <= 1
    assert (scored["part"], scored["tiles"]) == ("validation", 4)  # --test-share 0


@pytest.mark.usefixtures("undrawn_here")
def test_evaluate_scores_oracle_teacher_and_student_on_other_patients(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores"
    models = (
        "--student", folder / "student" / "student.safetensors",
        "--teacher", folder / "teacher" / "teacher.safetensors",
    )  # fmt: skip
    others = (*COHORT[:-2], "--cohort-seed", 7, "--tiles-per-patient", 2)
    assert run("evaluate", *others, *models, "--out", out) == 0
    found = read_json(out / "evaluation.json")
    assert (found["tiles"], found["patients"]) == (8, 4)
    assert list(found["graders"]) == ["oracle", "teacher", "student"]
    for scored in found["graders"].values():
        assert np.sum(scored["confusion"]) == 8
    assert found["notice"] == PROCEDURAL_NOTICE
    printed = capsys.readouterr().out
    assert "oracle" in printed
    assert PROCEDURAL_NOTICE in printed


def test_evaluate_refuses_patients_of_the_training(folder: Path, tmp_path: Path, capsys) -> None:
    student = folder / "student" / "student.safetensors"
    out = tmp_path / "scores"
    assert run("evaluate", *COHORT[:-2], "--student", student, "--out", out) == 2
    assert "were used to train" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("undrawn_here")
def test_a_bci_folder_trains_and_its_test_folder_is_scored(bci_folder, tmp_path: Path) -> None:
    data, out = bci_folder(train=5, test=1), tmp_path / "Lauf ä"
    assert run("student", data, *TINY, *SHARES, "--out", out) == 0
    scored = read_json(out / "evaluation.json")
    assert scored["split"].startswith("not a patient-level split")
    assert (scored["part"], scored["tiles"], scored["patients"]) == ("test", 4, None)
    assert read_json(out / "settings.json")["data"]["labels"] == "slide"
    card = load(out / "student.safetensors")[1]
    assert (card.mpp, card.tile_px, card.notice) == (0.46, 256, "research use only")


def test_evaluate_runs_on_the_real_pairs(shared_data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = ModelCard(name="fresh", role="student", width=0.5, mpp=0.46, tile_px=1024)
    save(tmp_path / "fresh.safetensors", build_student(width=0.5), card)
    out = tmp_path / "scores"
    student = ("--student", tmp_path / "fresh.safetensors", "--batch-size", 2)
    assert run("evaluate", shared_data / "bci_pairs", *student, "--out", out) == 0
    found = read_json(out / "evaluation.json")
    assert found["tiles_per_grade"] == {"0": 1, "1+": 1, "2+": 1, "3+": 1}
    assert found["patients"] is None
    assert "too narrow" in found["intervals"]


def spoil(name: str, folder: Path) -> None:
    """Change a good BCI folder into a bad one."""
    first = folder / "HE/train/00000_train_0.png"
    match name:
        case "unpaired":
            first.unlink()
        case "no image":
            first.write_bytes(b"no image")
        case "cut image":
            first.write_bytes(first.read_bytes()[:-100])
        case "no grade":
            for stain in ("HE", "IHC"):
                path = folder / stain / "train/00000_train_0.png"
                path.rename(path.with_name("00000_train.png"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unpaired", "has no partner"),
        ("no image", "cannot be read as an image"),
        ("cut image", "cannot be decoded"),
        ("no grade", "no HER2 grade in the file name"),
    ],
)
def test_bad_data_is_named_and_nothing_is_written(
    bci_folder, tmp_path: Path, capsys, fault: str, message: str
) -> None:
    folder = bci_folder(train=5, test=0)
    spoil(fault, folder)
    out = tmp_path / "run"
    assert run("teacher", folder, *QUICK, *SHARES, "--out", out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("arguments", [("--width", 0), ("--student", "potato"), ()])
def test_what_is_cheap_to_know_is_refused_before_pictures_are_compared(
    bci_folder, tmp_path: Path, monkeypatch, arguments: tuple[object, ...]
) -> None:
    monkeypatch.setattr(workflow, "picture_digests", lambda *_: pytest.fail("decoded pictures"))
    out = tmp_path / "run"
    method = ("--method", "none") if arguments else ()  # else a teacher is missing
    student = ("student", bci_folder(train=5), *SHARES, *method, *arguments, "--device", "cpu")
    assert run(*student, "--out", out) == 2
    assert not out.exists()


@pytest.mark.parametrize("drive", [True, False])
def test_a_folder_that_cannot_be_made_is_refused_before_pictures_are_compared(
    drive: bool, bci_folder, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(workflow, "picture_digests", lambda *_: pytest.fail("decoded pictures"))
    (tmp_path / "file").touch()
    if not drive:  # of Windows, of which not even the uppermost folder is there
        monkeypatch.setattr(Path, "exists", lambda _: False)
    folder, out = bci_folder(train=5), tmp_path / "file/runs/1"
    before = sorted(tmp_path.iterdir())
    assert run("teacher", folder, *QUICK, *SHARES, "--out", out) == 2
    assert f"the run folder {out} cannot be made: " in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("teacher", "nowhere"), "nowhere is no folder"),
        (("teacher", *COHORT, "--tile-px", 300), "multiple of 256"),
        (("teacher", *COHORT, "--patients", 0), "above 0"),
        (
            ("teacher", *COHORT, "--patients", 1),
            "of one patient, or one of each grade, and cannot be divided",
        ),
        (("teacher", *COHORT, "--device", "abacus"), "abacus"),
        (("teacher", *COHORT, "--memory-gb", 0), "--cache"),
        (("student", *COHORT, "--teacher", "none.safetensors"), "none.safetensors"),
        (("student", *COHORT), "--teacher"),
        (("student", *COHORT, "--method", "none", "--student", "timm:potato"), "potato"),
        (("teacher", *COHORT, "--learning-rate", -1), "--learning-rate"),
        (("teacher", *COHORT, "--weight-decay", "nan"), "--weight-decay"),
        (("teacher", *COHORT, "--shift-px", 256), "--shift-px must be 0 to 255, got 256"),
    ],
)
def test_bad_arguments_write_nothing(
    tmp_path: Path, capsys, arguments: tuple[object, ...], message: str
) -> None:
    out = tmp_path / "run"
    assert run(*arguments[:2], "--width", 0.5, *arguments[2:], "--out", out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("command", [("teacher",), ("student", "--method", "none")])
def test_without_a_teacher_validation_needs_grades(
    bci_folder, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    folder = bci_folder(train=3, test=0)
    manifest, rows = folder / "pairs.csv", ["he,ihc,grade,split"]
    for number, path in enumerate(sorted((folder / "HE/train").iterdir())):
        part = ("train", "validation", "calibration")[number // 4]
        grade = "" if part == "validation" else GRADE_NAMES[number % 4]
        rows.append(f"HE/train/{path.name},IHC/train/{path.name},{grade},{part}")
    manifest.write_text("\n".join(rows), encoding="utf-8")
    out = tmp_path / "run"
    name, *options = command
    data = (manifest, "--mpp", 0.5, "--test-share", 0, "--accept-leaks")
    assert run(name, *data, *options, *QUICK, "--out", out) == 2
    assert "has no grade, which loss or validation compares with" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("undrawn_here")
def test_accepted_leaks_stand_in_every_score(bci_folder, tmp_path: Path) -> None:
    folder = bci_folder(train=3, test=1)
    for stain in ("HE", "IHC"):
        shutil.copy(
            folder / stain / "train/00000_train_0.png", folder / stain / "test/00000_test_0.png"
        )
    out = tmp_path / "run"
    options = (*TINY, *SHARES, "--out", out)
    assert run("student", folder, *options) == 2
    assert not out.exists()
    assert run("student", folder, *options, "--accept-leaks") == 0
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert len(found["accepted_leaks"]) == 2
    assert found["labels"] == "slide"
    assert "BCI" in found["data"]
    assert "Leaks were accepted" in (out / "evaluation.html").read_text(encoding="utf-8")


def test_a_used_run_folder_is_refused_and_kept(tmp_path: Path, capsys) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert run("teacher", *COHORT, "--out", tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("role", "tile_px", "width", "message"),
    [
        ("student", 256, 0.5, "holds a student"),
        ("teacher", 512, 0.5, "was trained on tiles of 512 px"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    tmp_path: Path, capsys, role: str, tile_px: int, width: float, message: str
) -> None:
    build = build_teacher if role == "teacher" else build_student
    card = ModelCard(name="t", role=role, width=width, mpp=0.92, tile_px=tile_px)
    save(tmp_path / "t.safetensors", build(width=width), card)
    out = tmp_path / "run"
    arguments = ("--teacher", tmp_path / "t.safetensors", "--width", 0.5, "--out", out)
    assert run("student", *COHORT, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    for name in ("workflow", "run_plan"):
        monkeypatch.delitem(sys.modules, f"napari_hmkd.training.{name}")
    assert run("teacher", *COHORT, *QUICK, "--out", tmp_path / "run") == 2
    assert '"napari-hmkd[train]"' in capsys.readouterr().err
