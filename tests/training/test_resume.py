"""A run that was cut short goes on as if it never had been."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from lightning.pytorch.callbacks import Callback
from tests.training.cut_short import EPOCHS, SETTINGS, assert_equal_runs, one_epoch, rows, run

from napari_hmkd import leftovers
from napari_hmkd.errors import OutputError
from napari_hmkd.training import checkpoints, curves, workflow
from napari_hmkd.training import run as run_module
from napari_hmkd.training.checkpoints import read_progress
from napari_hmkd.training.config import (
    DistillationSettings,
    EngineSettings,
    Method,
    OptimiserName,
    OptimiserSettings,
    StudentSettings,
)
from napari_hmkd.training.engine import EpochSeed
from napari_hmkd.training.folder_lock import LOCK_FILE
from napari_hmkd.training.run import RunFolder

pytestmark = pytest.mark.usefixtures("undrawn_scores", "undrawn_attention")
COMMAND = (
    "--validation-share 0.2 --calibration-share 0.2 --test-share 0 --method none --student timm:test_resnet "
    f"--epochs {EPOCHS} --batch-size 4 --device cpu --name resumed"
).split()
# Run in a process of its own, which dies in the middle of writing its second checkpoint.
KILLED = """
import os, signal, sys
from napari_hmkd.training import checkpoints, cli

write_whole = checkpoints.write_whole

def cut(path, content):
    if path.name == "last.ckpt" and path.exists():
        os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
    write_whole(path, content)

checkpoints.write_whole = cut
cli.main(sys.argv[1:])
"""


STOPS_EARLY = EngineSettings(epochs=9, patience=1, seed=3)  # after two
ADAMW = OptimiserSettings(OptimiserName.ADAMW, learning_rate=1e-5)
OWN = replace(SETTINGS, student=StudentSettings(), export=replace(SETTINGS.export, width=0.25))
METHODS = {
    # Attention planes are computed again; early stopping counts over the pauses.
    "hmkd": replace(OWN, distillation=DistillationSettings(), engine=STOPS_EARLY, optimiser=ADAMW),
    # A layer of the method's own is trained too.
    "fitnets": replace(OWN, distillation=DistillationSettings(method=Method.FITNETS)),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_neither_pauses_nor_watching_change_anything(
    data: Path, teacher: Path, tmp_path: Path, monkeypatch, capsys, method: str
) -> None:
    settings, whole, out = METHODS[method], tmp_path / "ganz", tmp_path / "in Stücken"
    with monkeypatch.context() as unwatched:
        unwatched.setattr(workflow, "AttentionWatch", lambda folder: Callback())
        assert run(data, whole, settings, teacher=teacher) == whole / "student.safetensors"
    assert not (whole / "attention.csv").exists()
    epochs = len(rows(whole))
    assert 1 < epochs < 9
    early = f"ended after epoch {epochs} of 9: no better on validation for 1 (--patience)"
    assert (early in capsys.readouterr().err) is (method == "hmkd")
    for epoch in range(1, epochs):
        one_epoch(data, out, settings, teacher=teacher)
        assert len(rows(out)) == epoch
        assert not (out / "student.safetensors").exists()
    assert run(data, out, settings, teacher=teacher, resume=True) is not None
    assert (out / "attention.csv").exists() == (method == "hmkd")
    assert_equal_runs(out, whole)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_kill_changes_nothing(data: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "getötet"
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", KILLED, "student", str(data), *COMMAND, "--out", str(out)]
    ended = subprocess.run(
        command, env={**os.environ, **threads}, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(list((out / "checkpoints").glob("last.ckpt.*.partial"))) == 1
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


@pytest.mark.parametrize("until", [1, EPOCHS])
def test_curves_that_another_program_has_open_end_no_run(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    """Windows replaces no open file: the rows come with a later epoch, or at the end."""
    out, replace_file, epochs = tmp_path / "in Excel", os.replace, []

    def refuse(source: Path, target: Path) -> None:
        if target.name == "metrics.csv" and len(epochs) < until:
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
        if target.name == "last.ckpt":
            epochs.append(target)
        replace_file(source, target)

    monkeypatch.setattr(leftovers, "_PAUSES_S", ())
    monkeypatch.setattr(os, "replace", refuse)
    one_epoch(data, out)
    run(data, out, resume=True)
    assert_equal_runs(out, whole)


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """No file can be larger."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_checkpoint_before(data: Path, whole: Path, tmp_path: Path) -> None:
    out, size = tmp_path / "voll", (whole / "checkpoints/last.ckpt").stat().st_size
    last = out / "checkpoints/last.ckpt"
    with full_after(size // 2), pytest.raises(OutputError, match=r"last\.ckpt cannot be written"):
        run(data, out)
    assert not last.exists()
    one_epoch(data, out)  # it failed before its first epoch was kept, and starts again
    before = last.read_bytes()
    with full_after(size // 2), pytest.raises(OutputError, match=r"last\.ckpt cannot be written"):
        run(data, out, resume=True)
    assert last.read_bytes() == before
    assert not list(out.rglob("*.partial"))
    run(data, out, resume=True)
    assert_equal_runs(out, whole)


def test_a_full_disk_at_the_start_leaves_no_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: object) -> None:
        assert path.with_name("split.csv").exists()
        raise OutputError("the disk is full")

    out = tmp_path / "voll"
    monkeypatch.setattr(run_module, "write_json", full)
    with pytest.raises(OutputError, match="cannot be made: the disk is full"):
        run(data, out)
    assert not out.exists()


def test_a_start_that_was_cut_short_is_no_obstacle_to_another(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("tile,patient,grade,split\n", encoding="utf-8")
    (tmp_path / "settings.json.123.partial").write_text("{", encoding="utf-8")
    (tmp_path / LOCK_FILE).touch()
    folder = RunFolder(tmp_path, resume=True)
    assert not folder.resuming
    folder.require_usable()
    with pytest.raises(OutputError, match="is not empty"):
        RunFolder(tmp_path).require_usable()


def test_a_run_killed_while_it_was_scored_compares_no_pictures_again(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "unterbrochen"
    shutil.copytree(whole, out)
    for name in ("student.safetensors", "evaluation.json"):
        (out / name).unlink()
    monkeypatch.setattr(workflow, "picture_digests", lambda *_: pytest.fail("compared again"))
    run(data, out, resume=True)
    assert_equal_runs(out, whole)
    with pytest.raises(pytest.fail.Exception, match="compared again"):
        run(data, tmp_path / "neu", resume=True)


@pytest.mark.parametrize("repair", [True, False])
def test_one_process_alone_repairs_what_a_kill_left(
    tmp_path: Path, repair: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"best_epoch": 1, "finished": False}
    kept = {"callbacks": {checkpoints.STATE: state, curves.STATE: {"rows": []}}, "epoch": 1}
    monkeypatch.setattr(checkpoints, "read_checkpoint", lambda path, task: kept)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "last.ckpt").write_bytes(b"last")
    progress = read_progress(tmp_path, None, repair=repair)
    assert (progress.epochs, progress.finished) == (2, False)
    assert (folder / "best.ckpt").exists() == repair


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
