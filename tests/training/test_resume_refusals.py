"""What a run goes on with, and what it refuses, with nothing lost."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.cut_short import SETTINGS, assert_equal_runs, one_epoch, run

from napari_hmkd.errors import DataError, ModelError, OutputError
from napari_hmkd.training import run as run_folder
from napari_hmkd.training import workflow
from napari_hmkd.training.config import (
    CohortSettings,
    ParallelComputeSettings,
    StoredDataSettings,
    StudentSettings,
    TrainSettings,
)
from napari_hmkd.training.scores.evaluation import evaluate

pytestmark = pytest.mark.usefixtures("undrawn_scores")


def changed(name: str) -> TrainSettings:
    """The settings of the run with one of them changed."""
    return {
        "engine.seed": replace(SETTINGS, engine=replace(SETTINGS.engine, seed=1)),
        "student.student": replace(SETTINGS, student=StudentSettings("timm:test_convnext")),
        "split.split_seed": replace(SETTINGS, split=replace(SETTINGS.split, split_seed=1)),
    }[name]


@pytest.mark.parametrize("name", ["engine.seed", "student.student", "split.split_seed"])
def test_other_settings_are_named_and_nothing_is_lost(data: Path, whole: Path, name: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    with pytest.raises(DataError, match=name):
        run(data, whole, changed(name), resume=True)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_settings_that_change_no_number_may_differ(data: Path, whole: Path) -> None:
    other = replace(
        SETTINGS,
        data=StoredDataSettings(memory_gb=1.0),
        split=replace(SETTINGS.split, accept_leaks=True),
    )
    assert run(data, whole, other, resume=True) == whole / "student.safetensors"


def test_a_run_goes_on_where_its_data_was_moved(data: Path, whole: Path, tmp_path: Path) -> None:
    moved = tmp_path / "anderswo" / data.name
    shutil.copytree(data, moved, copy_function=shutil.copyfile)  # other times, too
    out = tmp_path / "umgezogen"
    one_epoch(data, out)
    run(moved, out, resume=True)
    assert_equal_runs(out, whole)
    gone = moved / "HE/test" / sorted(path.name for path in (moved / "HE/test").iterdir())[0]
    (moved / "IHC/test" / gone.name).unlink()
    gone.unlink()
    with pytest.raises(DataError, match=rf"\((test/)?{re.escape(gone.name)}: tile .*, now none"):
        run(moved, out, resume=True)


def test_a_picture_that_was_painted_over_is_refused_and_named(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    painted = tmp_path / "übermalt"
    shutil.copytree(data, painted)
    path = sorted((painted / "IHC/train").iterdir())[1]
    size, times = path.stat().st_size, (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    picture = np.asarray(Image.open(path)).copy()
    picture[100, 200] ^= 1  # as large a file of other pixels
    Image.fromarray(picture).save(path)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    os.utime(path, ns=times)
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    with pytest.raises(DataError, match=rf"1 of 20 tiles have other pictures \(.*{path.stem}"):
        run(painted, whole, resume=True)
    assert path.stat().st_size == size
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_picture_that_is_painted_over_while_the_run_begins_is_refused_when_it_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted, out, compare = tmp_path / "übermalt", tmp_path / "Lauf", workflow.picture_digests
    shutil.copytree(data, painted)
    path = next((painted / "HE/train").iterdir())

    def compare_and_paint(*given: Any) -> Any:
        found = compare(*given)
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(workflow, "picture_digests", compare_and_paint)
        one_epoch(painted, out)
    with pytest.raises(DataError, match=rf"1 of 20 tiles have other pictures \(.*{path.stem}"):
        run(painted, out, resume=True)


def record_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "settings.json").read_text(encoding="utf-8"))


@pytest.fixture
def of_sizes(whole: Path, tmp_path: Path) -> Path:
    """A finished run whose record knows its data by something else than the files' content."""
    out = tmp_path / "von früher"
    shutil.copytree(whole, out)
    record = {**record_of(whole), run_folder.DATA: run_folder.text_digest("pairs 256 a:1,2")}
    run_folder.write_json(out / "settings.json", record)
    return out


def never(*_: object) -> NoReturn:
    raise AssertionError


def test_files_that_were_saved_anew_with_the_same_pixels_are_the_same(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "Lauf"
    shutil.copytree(whole, out)
    anew = tmp_path / "neu gespeichert"
    shutil.copytree(data, anew)
    path = next((anew / "HE/train").iterdir())
    Image.open(path).save(path, compress_level=1)
    assert path.read_bytes() != (data / path.relative_to(anew)).read_bytes()
    assert run(anew, out, resume=True) == out / "student.safetensors"
    monkeypatch.setattr(workflow, "picture_digests", never)
    assert run(anew, out, resume=True) == out / "student.safetensors"


def test_a_record_of_another_kind_is_renewed_where_the_pixels_are_the_same(
    data: Path, whole: Path, of_sizes: Path
) -> None:
    assert run(data, of_sizes, resume=True) == of_sizes / "student.safetensors"
    assert record_of(of_sizes) == record_of(whole)


def test_a_record_that_cannot_be_renewed_keeps_no_run_from_going_on(
    data: Path, of_sizes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (of_sizes / "settings.json").read_bytes()

    def full(path: Path, _: object) -> NoReturn:
        raise OutputError(f"{path} cannot be written")

    monkeypatch.setattr(run_folder, "write_json", full)
    assert run(data, of_sizes, resume=True) == of_sizes / "student.safetensors"
    assert "settings.json cannot be written" in capsys.readouterr().err
    assert (of_sizes / "settings.json").read_bytes() == before


def test_copies_of_what_a_run_saw_are_not_scored_as_held_out(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    rows = ["he,ihc,grade,split"]
    for number, path in enumerate(sorted(data.glob("HE/*/*.png"))):
        copies = [tmp_path / f"{stain}{number}.png" for stain in ("HE", "IHC")]
        for copy, stain in zip(copies, ("HE", "IHC"), strict=True):
            shutil.copy(data / stain / path.parent.name / path.name, copy)
        rows.append(f"{copies[0].name},{copies[1].name},{number % 4},")
    manifest = tmp_path / "umbenannt.csv"
    manifest.write_text("\n".join(rows), encoding="utf-8")
    found = evaluate(
        str(manifest), {"student": whole / "student.safetensors"}, None, CohortSettings(),
        StoredDataSettings(mpp=0.46), ParallelComputeSettings(device="cpu"),
    )  # fmt: skip
    assert found["tiles"] == 4  # those of the test part
    assert sum(found["tiles_of_other_parts"].values()) == 16


def spoil(checkpoint: Path, fault: str) -> None:
    if fault == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    elif fault == "no checkpoint":
        checkpoint.write_text("not a checkpoint", encoding="utf-8")
    else:
        kept = torch.load(checkpoint, weights_only=True)
        kept["state_dict"][next(iter(kept["state_dict"]))] = torch.zeros(3, 3)
        torch.save(kept, checkpoint)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cut", "cannot be read"),
        ("no checkpoint", "cannot be read"),
        ("other network", "is of another network"),
    ],
)
def test_a_bad_checkpoint_is_named_and_nothing_is_lost(
    data: Path, tmp_path: Path, fault: str, message: str
) -> None:
    out = tmp_path / "Lauf"
    one_epoch(data, out)
    last = out / "checkpoints/last.ckpt"
    spoil(last, fault)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ModelError, match=message) as raised:
        run(data, out, resume=True)
    assert str(last) in str(raised.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_is_no_run_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is not empty"):
        run(data, tmp_path, resume=True)
