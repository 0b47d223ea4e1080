"""Processes for work on the side: they get what they need, and never outlive this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_hmkd.training.parallel import in_order, processes, side_by_side, threads

PARENT = """
import os, time
from napari_hmkd.training.parallel import processes

if __name__ == "__main__":
    pool = processes(1)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_machine_may_have_more_cores_than_windows_waits_for_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    processes(64).shutdown()


def test_threads_keep_the_order() -> None:
    squares = [number**2 for number in range(50)]
    assert side_by_side(lambda number: number**2, range(50)) == squares
    assert list(in_order(threads(), lambda number: number**2, range(50), ahead=3)) == squares


def test_each_process_is_prepared(tmp_path: Path) -> None:
    with processes(1, os.chdir, tmp_path) as pool:
        assert Path(pool.submit(os.getcwd).result()) == tmp_path.resolve()
    assert Path.cwd() != tmp_path


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL and signal 0 are POSIX")
def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 20
    while alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(child)
