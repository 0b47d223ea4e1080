"""A run that was cut short goes on as if it never had been."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import DataError, ModelError, OutputError
from napari_hmkd.training.config import (
    ComputeSettings,
    DataSettings,
    DistillationSettings,
    EngineSettings,
    ExportSettings,
    Method,
    SplitSettings,
    TrainSettings,
)
from napari_hmkd.training.engine import EpochSeed
from napari_hmkd.training.workflow import train

EPOCHS = 3
SETTINGS = TrainSettings(
    split=SplitSettings(validation_share=0.2, calibration_share=0.2, test_share=0),
    distillation=DistillationSettings(method=Method.NONE),
    engine=EngineSettings(epochs=EPOCHS),
    compute=ComputeSettings(batch_size=4, device="cpu"),
    export=ExportSettings(width=0.25, name="resumed"),
)
COMMAND = (
    "--validation-share 0.2 --calibration-share 0.2 --test-share 0 --method none "
    f"--epochs {EPOCHS} --batch-size 4 --device cpu --width 0.25 --name resumed"
).split()
TIMES = ("waiting_share", "steps_per_second", "seconds")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BCI folder of 24 pairs, 256 px."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("Gewebe süd"), np.random.default_rng(1)
    for part, count in (("train", 20), ("test", 4)):
        for number in range(count):
            grade = ("0", "1+", "2+", "3+")[number % 4]
            for stain in ("HE", "IHC"):
                path = folder / stain / part / f"{number:05d}_{part}_{grade}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return folder


def run(data: Path, out: Path, settings: TrainSettings = SETTINGS, **more: Any) -> Path | None:
    return train(str(data), out, settings, role="student", **more)


def one_epoch(data: Path, out: Path, settings: TrainSettings = SETTINGS) -> None:
    """Train until the deadline, which has passed already: one epoch."""
    assert run(data, out, settings, resume=True, deadline=time.monotonic()) is None


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never cut short."""
    out = tmp_path_factory.mktemp("Läufe") / "ganz"
    assert run(data, out) == out / "student.safetensors"
    return out


def rows(folder: Path) -> list[dict[str, str]]:
    """The curves, without what a clock says."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def fit_of(folder: Path) -> dict[str, Any]:
    fit = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["fit"]
    return {name: value for name, value in fit.items() if name not in TIMES}


def assert_equal_runs(resumed: Path, whole: Path) -> None:
    """Weights, card, curves, best epoch and predictions to the last bit."""
    for name in ("student.safetensors", "student.json", "predictions.csv", "split.csv"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    assert rows(resumed) == rows(whole)
    assert len(rows(whole)) == EPOCHS
    assert fit_of(resumed) == fit_of(whole)


def test_pauses_change_nothing(data: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "in Stücken"
    for epoch in range(1, EPOCHS):
        one_epoch(data, out)
        assert len(rows(out)) == epoch
        assert not (out / "student.safetensors").exists()
    assert run(data, out, resume=True) is not None
    assert_equal_runs(out, whole)


def test_a_kill_changes_nothing(data: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "getötet"
    program = (sys.executable, "-m", "napari_hmkd.training.cli")
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [*program, "student", str(data), *COMMAND, "--out", str(out)]
    process = subprocess.Popen(command, env={**os.environ, **threads}, stderr=subprocess.DEVNULL)
    try:
        while not (out / "checkpoints/last.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (out / "student.safetensors").exists()
    run(data, out, resume=True)
    assert_equal_runs(out, whole)


def test_a_kill_before_the_first_checkpoint_or_the_best_one(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "früh"
    one_epoch(data, out)
    for name in ("last.ckpt", "best.ckpt"):
        (out / "checkpoints" / name).unlink()
    one_epoch(data, out)  # nothing to go on from: it starts
    (out / "checkpoints/best.ckpt").unlink()  # as if killed between the two files
    run(data, out, resume=True)
    assert_equal_runs(out, whole)


def test_a_finished_run_says_so_and_trains_no_more(data: Path, whole: Path, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    assert run(data, whole, resume=True) == whole / "student.safetensors"
    assert "is finished" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_run_killed_while_it_was_scored_is_scored_again(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    early = replace(SETTINGS, engine=replace(SETTINGS.engine, epochs=9, patience=1))
    out = tmp_path / "früh beendet"
    run(data, out, early)
    stopped = rows(out)
    assert len(stopped) < 9
    weights = (out / "student.safetensors").read_bytes()
    for name in ("student.safetensors", "evaluation.json"):
        (out / name).unlink()
    run(data, out, early, resume=True)
    assert rows(out) == stopped
    assert (out / "student.safetensors").read_bytes() == weights


def test_a_full_disk_leaves_the_checkpoint_before(data: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "voll"
    one_epoch(data, out)
    last = out / "checkpoints/last.ckpt"
    before, (soft, hard) = last.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OutputError, match=r"last\.ckpt cannot be written"):
            run(data, out, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert last.read_bytes() == before
    assert not list(out.rglob("*.partial"))
    run(data, out, resume=True)
    assert_equal_runs(out, whole)


def changed(name: str) -> TrainSettings:
    """The settings of the run with one of them changed."""
    return {
        "engine.seed": replace(SETTINGS, engine=replace(SETTINGS.engine, seed=1)),
        "export.width": replace(SETTINGS, export=replace(SETTINGS.export, width=0.5)),
        "split.split_seed": replace(SETTINGS, split=replace(SETTINGS.split, split_seed=1)),
    }[name]


@pytest.mark.parametrize("name", ["engine.seed", "export.width", "split.split_seed"])
def test_other_settings_are_named_and_nothing_is_lost(data: Path, whole: Path, name: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    with pytest.raises(DataError, match=name):
        run(data, whole, changed(name), resume=True)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_settings_that_change_no_number_may_differ(data: Path, whole: Path) -> None:
    other = replace(SETTINGS, data=DataSettings(memory_gb=1.0, accept_leaks=True))
    assert run(data, whole, other, resume=True) == whole / "student.safetensors"


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


def test_random_numbers_of_an_epoch_do_not_depend_on_what_came_before() -> None:
    """Dropout of a timm student is drawn anew as in the run that was cut short."""

    def drawn(epoch: int, rank: int = 0) -> list[float]:
        trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
        EpochSeed(seed=5).on_train_epoch_start(trainer, None)
        return [*torch.rand(2).tolist(), *np.random.rand(2).tolist()]  # noqa: NPY002

    first = drawn(1)
    torch.rand(7)
    assert drawn(1) == first
    assert drawn(2) != first
    assert drawn(1, rank=1) != first
