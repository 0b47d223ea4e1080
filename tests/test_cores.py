"""The cores that a process may use, where they are fewer than the machine's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from dask.system import CPU_COUNT

from napari_hmkd import cores

ON_ONE_CORE = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from napari_hmkd.slide.reader_threads import ReaderThreads
from napari_hmkd.training.parallel import threads
from napari_hmkd.training.piecework import threads_each
print(ReaderThreads("it").count, threads()._max_workers, threads_each(1))
"""
TORCH = """
from napari_hmkd import cores
cores.CPU_COUNT = 1
cores.keep_to_allotted_cores()
import torch
print(torch.get_num_threads())
"""


def said_by(program: str) -> str:
    """What a process of its own prints, in which nobody set a number of threads."""
    own = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    words = [sys.executable, "-c", program]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=own).stdout.strip()


@pytest.mark.skipif(CPU_COUNT < 2, reason="needs two cores, to leave one out")
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity")
def test_as_many_threads_read_as_there_are_cores_allotted() -> None:
    assert said_by(ON_ONE_CORE) == "1 1 1"


@pytest.mark.skipif(CPU_COUNT < 2, reason="needs two cores, of which one is allotted")
def test_torch_starts_no_more_threads_than_there_are_cores_allotted() -> None:
    assert said_by(TORCH) == "1"


@pytest.mark.parametrize(
    ("set_before", "allotted", "expected"), [(None, 4, "4"), ("2", 4, "2"), (None, 64, None)]
)
def test_what_the_user_set_stays_and_a_whole_machine_is_left_to_torch(
    set_before: str | None, allotted: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "CPU_COUNT", allotted)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if set_before is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", set_before)
    cores.keep_to_allotted_cores()
    assert os.environ.get("OMP_NUM_THREADS") == expected
