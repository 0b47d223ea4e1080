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

from napari_hmkd.model import load

RANKS = 2
# Run by two processes: the real engine, task and data, and the first step's gradients in a file.
PROGRAM = """
import sys
from pathlib import Path
import lightning, numpy, torch
from napari_hmkd.model import ModelCard, build_student
from napari_hmkd.training.config import *
from napari_hmkd.training.data import TileData
from napari_hmkd.training.engine import Engine
from napari_hmkd.training.methods.registry import make_method
from napari_hmkd.training.splits import Split
from napari_hmkd.training.tasks import StudentTask
from napari_hmkd.training.tiles import Tile

out = Path(sys.argv[1])

class Store:
    pairs = numpy.random.default_rng(0).integers(0, 256, (10, 2, 256, 256, 3), numpy.uint8)
    def read(self, indices):
        return self.pairs[indices]

class Recording(StudentTask):
    def on_before_optimizer_step(self, optimiser):
        if self.trainer.global_step == 0 and self.global_rank == 0:
            found = {name: weight.grad for name, weight in self.named_parameters()}
            torch.save(found, out / "together.pt")

def make_task():
    lightning.seed_everything(0)
    network = build_student(width=0.25)
    settings = DistillationSettings(method=Method.NONE)
    card = ModelCard(name="s", role="student", width=0.25, mpp=1.0, tile_px=256)
    return Recording(network, card, OptimiserSettings(), make_method(settings, network, None, 256), None)

def make_data(rank):
    tiles = [Tile(str(i), i % 4, f"patient {i}") for i in range(10)]
    parts = [numpy.arange(8), *[numpy.array([8, 9])] * 3]
    return TileData(tiles, Store(), Split(*parts, ""), AugmentSettings(), batch_size=2, seed=0,
                    rank=rank, ranks=2)

compute = ComputeSettings(batch_size=2, device="cpu", devices=2)
engine = Engine(EngineSettings(epochs=1), compute, torch.device("cpu"), out / "run")
(out / "run").mkdir(exist_ok=True)
fitted = engine.fit(make_task(), make_data(engine.rank), None)
if engine.leads:
    assert fitted.epochs == 1
    task = make_task().train()
    for rank in range(2):
        data = make_data(rank)
        batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
        (task.total(task.parts(batch)) / 2).backward()
    torch.save({name: w.grad for name, w in task.named_parameters()}, out / "in_turn.pt")
"""


def environment() -> dict[str, str]:
    """This one's, without what says that a process is one of several."""
    own = {"LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return {**kept, "OMP_NUM_THREADS": "1"}


def test_the_first_gradients_are_those_of_accumulated_batches(tmp_path: Path) -> None:
    program = tmp_path / "schritt.py"
    program.write_text(PROGRAM, encoding="utf-8")
    command = (sys.executable, str(program), str(tmp_path))
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    together, in_turn = (torch.load(tmp_path / f"{name}.pt") for name in ("together", "in_turn"))
    assert together.keys() == in_turn.keys()
    assert max(gradient.abs().max() for gradient in in_turn.values()) > 1e-3
    torch.testing.assert_close(together, in_turn, rtol=1e-5, atol=1e-5)


def test_a_run_of_two_processes_leaves_one_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(20):
        grade = ("0", "1+", "2+", "3+")[number % 4]
        for stain in ("HE", "IHC"):
            path = tmp_path / "Gewebe" / stain / "train" / f"{number:05d}_train_{grade}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    out = tmp_path / "zu zweit"
    arguments = (
        "--validation-share 0.2 --calibration-share 0.2 --test-share 0 --epochs 2 --batch-size 2 "
        "--width 0.25 --device cpu --devices 2"
    ).split()
    program = (sys.executable, "-m", "napari_hmkd.training.cli", "teacher")
    done = subprocess.run(
        (*program, str(tmp_path / "Gewebe"), *arguments, "--out", str(out)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert load(out / "teacher.safetensors")[1].width == 0.25
    assert done.stderr.count("epoch 1/2") == 1  # one process speaks
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # 12 training tiles: three batches of two for each process.
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6")]
