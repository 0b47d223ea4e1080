"""Several processes that train together do what one would do with their batches in turn."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning", reason="needs the extra `train`")

from lightning.pytorch.utilities import rank_zero_only

from napari_hmkd.errors import OutputError
from napari_hmkd.model import load
from napari_hmkd.training import console, workflow
from napari_hmkd.training.config import (
    EngineSettings,
    ExportSettings,
    ParallelComputeSettings,
    SplitSettings,
    TrainSettings,
)
from napari_hmkd.training.engine import Engine

# The command, run by two processes, with the first step's gradients in a file. Then the first
# process alone computes them from the batches of both.
PROGRAM = """
import copy, os, signal, sys
from pathlib import Path
import torch
from napari_hmkd.training import cli, run_plan, workflow
from napari_hmkd.training.tasks import GradingTask

kept, make_task, open_tiles = {}, run_plan.make_task, workflow._open_tiles

def make_and_keep(*given):
    task = make_task(*given)
    kept["task"] = copy.deepcopy(task)
    return task

def open_and_keep(plan, engine):
    kept["data"] = open_tiles(plan, engine)
    return kept["data"]

def record(task, optimiser):
    if task.current_epoch == int(os.environ.get("KILLED_AFTER", -1)):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.trainer.global_step == 0 and task.global_rank == 0:
        kept["together"] = {n: w.grad.clone() for n, w in task.named_parameters() if w.requires_grad}

run_plan.make_task, workflow._open_tiles = make_and_keep, open_and_keep
GradingTask.on_before_optimizer_step = record
try:
    cli.main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code
if "together" in kept:
    task, data = kept["task"].train(), kept["data"]
    data.train_set.epoch = 0
    for data.rank in range(2):
        batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
        (task.total(task.parts(batch)) / 2).backward()
    in_turn = {name: w.grad for name, w in task.named_parameters() if w.requires_grad}
    torch.save((kept["together"], in_turn), Path(sys.argv[0]).with_name(f"{sys.argv[1]}.pt"))
"""
SPLIT = SplitSettings(validation_share=0.2, calibration_share=0.2, test_share=0)
ARGUMENTS = (
    "--validation-share 0.2 --calibration-share 0.2 --test-share 0 --epochs 2 --batch-size 2 "
    "--width 0.25 --device cpu --devices 2"
).split()


def environment() -> dict[str, str]:
    """This one's, without what says that a process is one of several."""
    own = {"LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return {**kept, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twenty pairs beside the program."""
    folder = tmp_path_factory.mktemp("zu zweit")
    (folder / "programm.py").write_text(PROGRAM, encoding="utf-8")
    rng = np.random.default_rng(1)
    for number in range(20):
        grade = ("0", "1+", "2+", "3+")[number % 4]
        for stain in ("HE", "IHC"):
            path = folder / "Gewebe" / stain / "train" / f"{number:05d}_train_{grade}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return folder / "Gewebe"


def train_together(role: str, pairs: Path, *arguments: object) -> str:
    """Let two processes train for two epochs; what they said."""
    done = start(role, pairs, "--out", pairs.with_name(role), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def start(
    role: str, pairs: Path, *arguments: object, epochs: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in two processes, which kill themselves after so many epochs."""
    command = (pairs.with_name("programm.py"), role, pairs, *ARGUMENTS, *arguments)
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={**environment(), **({} if epochs is None else {"KILLED_AFTER": str(epochs)})},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture(scope="module")
def teacher(pairs: Path) -> tuple[Path, str]:
    """Run folder of a teacher, and what was said."""
    return pairs.with_name("teacher"), train_together("teacher", pairs)


@pytest.fixture(scope="module")
def student(pairs: Path, teacher: tuple[Path, str]) -> tuple[Path, str]:
    """Run folder of a student that this teacher taught, and what was said."""
    guide = teacher[0] / "teacher.safetensors"
    return pairs.with_name("student"), train_together("student", pairs, "--teacher", guide)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_the_first_gradients_are_those_of_accumulated_batches(
    role: str, request: pytest.FixtureRequest
) -> None:
    folder, _ = request.getfixturevalue(role)
    found, wanted = torch.load(folder.with_name(f"{role}.pt"))
    assert found.keys() == wanted.keys()
    assert max(gradient.abs().max() for gradient in wanted.values()) > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_two_processes_leave_one_model_and_one_voice(teacher: tuple[Path, str]) -> None:
    folder, said = teacher
    assert load(folder / "teacher.safetensors")[1].width == 0.25
    assert [said.count(f"epoch {number}/2") for number in (1, 2)] == [1, 1]
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        row, _ = csv.DictReader(file)
    with (folder / "split.csv").open(newline="", encoding="utf-8") as file:
        trained = [line for line in csv.DictReader(file) if line["split"] == "train"]
    assert int(row["step"]) == len(trained) // 2 // 2  # processes, tiles in a batch


def test_two_killed_processes_go_on_as_if_they_had_not_been(
    teacher: tuple[Path, str], pairs: Path
) -> None:
    out = pairs.with_name("wieder")
    assert start("teacher", pairs, "--out", out, "--name", "teacher", epochs=1).returncode
    assert not (out / "teacher.safetensors").exists()
    done = start("teacher", pairs, "--out", out, "--name", "teacher", "--resume")
    assert done.returncode == 0, done.stderr
    assert [done.stderr.count(f"epoch {number}/2") for number in (1, 2)] == [0, 1]
    assert (out / "teacher.safetensors").read_bytes() == (
        teacher[0] / "teacher.safetensors"
    ).read_bytes()


STARTED_BY = {
    "the leader": {"LOCAL_RANK": "1"},
    "torchrun": {
        "LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2", "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "1",
    },
}  # fmt: skip


@pytest.fixture
def second_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of two, which ends where it would meet the other one."""
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    for name, value in STARTED_BY[request.param].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(console, "_silent", False)  # both are put back at the end
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    monkeypatch.setattr(Engine, "fit", lambda *_: None)


@pytest.mark.parametrize(
    ("second_process", "checks"),
    [("the leader", False), ("torchrun", True)],
    indirect=["second_process"],
)
@pytest.mark.usefixtures("second_process")
def test_leaks_are_checked_by_each_process_that_no_leader_started(
    bci_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: bool
) -> None:
    asked = []
    monkeypatch.setattr(workflow, "refuse_leaks", lambda *given: asked.append(given) or [])
    settings = TrainSettings(
        split=SPLIT,
        engine=EngineSettings(epochs=1),
        compute=ParallelComputeSettings(batch_size=2, device="cpu", devices=2),
        export=ExportSettings(width=0.25),
    )
    out = tmp_path / "halb angelegt"
    out.mkdir()
    (out / "split.csv").touch()  # the leader is about to write the rest
    data = str(bci_folder(train=5))
    assert workflow.train(data, out, settings, role="teacher") is None
    assert len(asked) == checks
    assert [path.name for path in out.iterdir()] == ["split.csv"]


def test_the_leader_refuses_a_folder_in_use(bci_folder, tmp_path: Path) -> None:
    (tmp_path / "split.csv").touch()
    with pytest.raises(OutputError, match="is not empty"):
        workflow.train(str(bci_folder(train=5)), tmp_path, TrainSettings(), role="teacher")
