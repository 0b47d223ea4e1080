"""Several processes that train together do what one would do with their batches in turn."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
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
from napari_hmkd.training.sources import pairs as pair_source

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes"),
]

SPLIT = SplitSettings(validation_share=0.25, calibration_share=0.25, test_share=0)
ARGUMENTS = (
    "--validation-share 0.25 --calibration-share 0.25 --test-share 0 --epochs 2 --batch-size 2 "
    "--width 0.25 --device cpu --devices 2"
).split()


def environment() -> dict[str, str]:
    """This one's, without what says that a process is one of several."""
    own = {"LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return {**kept, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sixteen pairs."""
    folder = tmp_path_factory.mktemp("zu zweit") / "Gewebe"
    rng = np.random.default_rng(1)
    for number in range(16):
        grade = ("0", "1+", "2+", "3+")[number % 4]
        for stain in ("HE", "IHC"):
            path = folder / stain / "train" / f"{number:05d}_train_{grade}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return folder


def arguments(role: str, pairs: Path, out: str, *more: object) -> list[str]:
    return [role, str(pairs), *ARGUMENTS, "--out", str(pairs.with_name(out)), *map(str, more)]


@dataclass(frozen=True)
class Ran:
    """What processes left: the teacher's run folder, what was said, and exit codes by name."""

    teacher: Path
    said: str
    codes: dict[str, list[int]]


@pytest.fixture(scope="module")
def ran(pairs: Path) -> Ran:
    """A teacher is killed and goes on, a student is trained, and then a teacher by the command alone.

    All are forked from one process, which imports what they need, but for the last one's second.
    """
    again = arguments("teacher", pairs, "wieder", "--name", "teacher")
    guide = pairs.with_name("wieder") / "teacher.safetensors"
    jobs = {
        "killed": {"arguments": again, "killed_after": 1},
        "resumed": {"arguments": [*again, "--resume"]},
        "student": {
            "arguments": arguments("student", pairs, "student", "--teacher", guide, "--epochs", 1)
        },
    }
    program = str(Path(__file__).with_name("two_processes.py"))
    given = [json.dumps(list(jobs.values())), *arguments("teacher", pairs, "teacher")]
    done = subprocess.run(
        [sys.executable, program, *given],
        env=environment(), capture_output=True, text=True, timeout=560,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    # Gloo of older versions of torch speaks on stdout, too.
    said = next(line for line in done.stdout.splitlines() if line.startswith("[["))
    codes = json.loads(said)
    return Ran(pairs.with_name("teacher"), done.stderr, dict(zip(jobs, codes, strict=True)))


def test_the_first_gradients_are_those_of_accumulated_batches(pairs: Path, ran: Ran) -> None:
    assert ran.codes["student"] == [0, 0], pairs.with_name("student.err").read_text("utf-8")
    for role in ("teacher", "student"):
        found, wanted = torch.load(pairs.with_name(f"{role}.pt"))
        assert found.keys() == wanted.keys()
        assert max(gradient.abs().max() for gradient in wanted.values()) > 1e-3
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_two_processes_leave_one_model_and_one_voice(ran: Ran) -> None:
    assert load(ran.teacher / "teacher.safetensors")[1].width == 0.25
    assert [ran.said.count(f"epoch {number}/2") for number in (1, 2)] == [1, 1]
    with (ran.teacher / "metrics.csv").open(newline="", encoding="utf-8") as file:
        row, _ = csv.DictReader(file)
    with (ran.teacher / "split.csv").open(newline="", encoding="utf-8") as file:
        trained = [line for line in csv.DictReader(file) if line["split"] == "train"]
    assert int(row["step"]) == len(trained) // 2 // 2  # processes, tiles in a batch


def test_two_killed_processes_go_on_as_if_they_had_not_been(pairs: Path, ran: Ran) -> None:
    said = pairs.with_name("wieder.err").read_text(encoding="utf-8")
    assert ran.codes["killed"] == [-signal.SIGKILL] * 2, said
    assert ran.codes["resumed"] == [0, 0], said
    assert [said.count(f"epoch {number}/2") for number in (1, 2)] == [1, 1]
    resumed = pairs.with_name("wieder") / "teacher.safetensors"
    assert resumed.read_bytes() == (ran.teacher / "teacher.safetensors").read_bytes()


def test_torch_warns_users_of_nothing(ran: Ran) -> None:
    assert "Warning" not in ran.said


STARTED_BY = {
    "the leader": {"LOCAL_RANK": "1"},
    "torchrun": {
        "LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2", "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "1",
    },
}  # fmt: skip


OF_TWO = TrainSettings(
    split=SPLIT,
    engine=EngineSettings(epochs=1),
    compute=ParallelComputeSettings(batch_size=2, device="cpu", devices=2),
    export=ExportSettings(width=0.25),
)


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
    out = tmp_path / "halb angelegt"
    out.mkdir()
    (out / "split.csv").touch()  # the leader is about to write the rest
    data = str(bci_folder(train=5))
    assert workflow.train(data, out, OF_TWO, role="teacher") is None
    assert len(asked) == checks
    assert [path.name for path in out.iterdir()] == ["split.csv"]


@pytest.mark.parametrize(
    ("second_process", "begun", "reads"),
    [
        ("the leader", False, False),
        ("the leader", True, False),
        ("torchrun", False, False),
        ("torchrun", True, True),
    ],
    indirect=["second_process"],
)
@pytest.mark.usefixtures("second_process")
def test_files_are_read_once_for_the_record_and_by_whom_no_leader_started_to_compare(
    bci_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool, reads: bool
) -> None:
    data, out, read = str(bci_folder(train=5)), tmp_path / "Lauf", []
    if begun:
        with monkeypatch.context() as leader:
            for name in STARTED_BY["torchrun"]:
                leader.delenv(name, raising=False)
            assert workflow.train(data, out, OF_TWO, role="teacher") is None
    digest = pair_source.file_digest
    monkeypatch.setattr(pair_source, "file_digest", lambda path: read.append(path) or digest(path))
    assert workflow.train(data, out, OF_TWO, role="teacher", resume=True) is None
    assert bool(read) == reads


def test_the_leader_refuses_a_folder_in_use(bci_folder, tmp_path: Path) -> None:
    (tmp_path / "split.csv").touch()
    with pytest.raises(OutputError, match="is not empty"):
        workflow.train(str(bci_folder(train=5)), tmp_path, TrainSettings(), role="teacher")
