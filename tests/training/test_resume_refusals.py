"""What a run goes on with, and what it refuses, with nothing lost."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.training.cut_short import SETTINGS, assert_equal_runs, one_epoch, run

from napari_hmkd.errors import DataError, ModelError, OutputError
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


def test_files_that_were_saved_anew_with_the_same_pixels_are_the_same(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    anew = tmp_path / "neu gespeichert"
    shutil.copytree(data, anew)
    path = next((anew / "HE/train").iterdir())
    Image.open(path).save(path, compress_level=1)
    assert path.read_bytes() != (data / path.relative_to(anew)).read_bytes()
    assert run(anew, whole, resume=True) == whole / "student.safetensors"


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
