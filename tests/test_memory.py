"""How much memory there is; and freed memory is used again, so that the system has no new pages to hand out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_hmkd.memory import machine_memory

PROGRAM = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from napari_hmkd.memory import keep_freed_memory

def work(_):
    for _ in range(3):
        np.ones(40_000_000, np.uint8)  # beyond what malloc learns to keep

if sys.argv[1] == "kept":
    assert keep_freed_memory()
work(0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
VERSIONS = {
    1: (
        "9:memory:/slurm/job_7\n4:cpuset:/\n0::/slurmd.service\n",
        "memory",
        "memory.limit_in_bytes",
    ),
    2: ("0::/slurm/job_7\n", "", "memory.max"),
}
"""What Linux says of a process's groups, and where a limit lies."""


def faults(how: str) -> int:
    """Pages that a program was handed out while it made and forgot 700 MB of arrays in threads."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_memory_is_used_again() -> None:
    assert faults("kept") < faults("as usual") / 5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("limits", "bytes_allowed"),
    [
        ({}, 10**15),
        ({"slurm/job_7": "3000000000"}, 3 * 10**9),
        ({"slurm/job_7": "max", "slurm": "5000000000"}, 5 * 10**9),
        ({"slurm/job_8": "1000"}, 10**15),
    ],
)
def test_a_batch_job_has_the_memory_of_its_group(
    limits: dict[str, str],
    bytes_allowed: int,
    version: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / "cgroup"
    words, top, file = VERSIONS[version]
    own.write_text(words)
    for group, limit in limits.items():
        (tmp_path / "fs" / top / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / top / group / file).write_text(f"{limit}\n")
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 10**15)
    places = {"/proc/self/cgroup": own, "/sys/fs/cgroup": tmp_path / "fs"}
    monkeypatch.setattr("napari_hmkd.memory.Path", places.__getitem__)
    assert machine_memory() == bytes_allowed
