"""The command as two processes run it: started by itself, or forked from one that imported it once.

    python two_processes.py '[{"arguments": [ROLE, ..., "--out", FOLDER], "killed_after": 1}]' ROLE ... --out FOLDER

The jobs are forked in turn, and the exit codes of each one's processes are printed; then the command
is run, which starts its second process by itself. The first process keeps the gradients of the first step, computes them again alone from the batches of
both, and leaves the two in FOLDER.pt.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only

from napari_hmkd.training import cli, run_plan, workflow
from napari_hmkd.training.scores import page
from napari_hmkd.training.tasks import GradingTask


def run(arguments: Sequence[str], killed_after: int | None = None) -> None:
    """Run the command in this process, which kills itself after so many epochs."""
    kept, make_task, open_tiles = {}, run_plan.make_task, workflow._open_tiles

    def make_and_keep(*given):
        task = make_task(*given)
        kept["task"] = copy.deepcopy(task)
        return task

    def open_and_keep(*given):
        kept["data"] = open_tiles(*given)
        return kept["data"]

    def record(task, optimiser):
        if task.current_epoch == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)
        assert not task.trainer.strategy.model.will_sync_module_buffers()  # in each step
        if task.trainer.global_step == 0 and task.global_rank == 0:
            kept["together"] = gradients(task)

    run_plan.make_task, workflow._open_tiles = make_and_keep, open_and_keep
    GradingTask.on_before_optimizer_step = record
    page.pictures = lambda *_: []  # drawn for longer than is trained
    try:
        cli.main(list(arguments))
    except SystemExit as ended:
        if ended.code:
            raise
    if "together" in kept:
        task, data = kept["task"].train(), kept["data"]
        data.train_set.epoch = 0
        for data.rank in range(2):
            batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
            (task.total(task.parts(batch)) / 2).backward()
        torch.save((kept["together"], gradients(task)), folder_of(arguments).with_suffix(".pt"))


def folder_of(arguments: Sequence[str]) -> Path:
    return Path(arguments[arguments.index("--out") + 1])


def gradients(task: GradingTask) -> dict[str, torch.Tensor]:
    return {name: w.grad.clone() for name, w in task.named_parameters() if w.requires_grad}


def fork_two(arguments: Sequence[str], killed_after: int | None = None) -> list[int]:
    """Exit codes of two processes that find what torchrun would tell them; they speak into FOLDER.err."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "1",
    }  # fmt: skip
    # Python 3.12 warns of torch's threads, which have nothing to do yet.
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
    processes = []
    for rank in range(2):
        if process := os.fork():
            processes.append(process)
            continue
        os.environ.update(told, RANK=str(rank), LOCAL_RANK=str(rank))
        said = os.open(
            folder_of(arguments).with_suffix(".err"), os.O_CREAT | os.O_APPEND | os.O_WRONLY
        )
        os.dup2(said, sys.stderr.fileno())
        rank_zero_only.rank = rank  # Lightning was imported before it could know
        try:
            run(arguments, killed_after)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


if __name__ == "__main__":
    if "LOCAL_RANK" not in os.environ:
        print(json.dumps([fork_two(**job) for job in json.loads(sys.argv.pop(1))]), flush=True)
    run(sys.argv[1:])  # which Lightning repeats for the second process
