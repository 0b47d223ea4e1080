from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("napari", reason="needs the napari extra")
pytest.importorskip("pytestqt", reason="needs pytest-qt")

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent

from napari_hmkd.widgets import train_launcher
from napari_hmkd.widgets.train_process import TrainProcess

pytestmark = pytest.mark.gui
PATIENCE_MS = 20_000
posix = pytest.mark.skipif(os.name == "nt", reason="asks by POSIX signals")

# Writes the process ids of itself and of a child of its own, then waits.
FAMILY = """
    import os, pathlib, signal, subprocess, sys, time
    if "--deaf" in sys.argv:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = subprocess.Popen(sleeper)
    note = pathlib.Path(sys.argv[1])
    note.with_suffix(".part").write_text(f"{os.getpid()} {child.pid}")
    note.with_suffix(".part").replace(note)
    if "--leave" not in sys.argv:
        time.sleep(60)
"""


@pytest.fixture
def process(qapp) -> TrainProcess:
    process = TrainProcess(grace_s=1.0)
    yield process
    process.abandon()


@pytest.fixture
def family(tmp_path: Path) -> list[str]:
    script = tmp_path / "häßlich family.py"
    script.write_text(textwrap.dedent(FAMILY), encoding="utf-8")
    return [sys.executable, str(script), str(tmp_path / "pids")]


def pids(qtbot, family: list[str]) -> list[int]:
    note = Path(family[2])
    qtbot.waitUntil(note.exists, timeout=PATIENCE_MS)
    return [int(word) for word in note.read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie has ended; nobody has asked for its exit code yet.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def run(process: TrainProcess, qtbot, program: str) -> tuple[list[str], list[str], int]:
    lines, shown, codes = [], [], []
    process.line.connect(lines.append)
    process.progress.connect(shown.append)
    process.finished.connect(lambda code, stopped: codes.append(code))
    process.start([sys.executable, "-c", textwrap.dedent(program)])
    qtbot.waitUntil(lambda: bool(codes), timeout=PATIENCE_MS)
    return lines, shown, codes[0]


def test_both_streams_come_line_by_line_in_utf8(process: TrainProcess, qtbot) -> None:
    program = """
        import sys, time
        sys.stdout.buffer.write(b"caf\\xc3"); sys.stdout.flush(); time.sleep(0.2)
        sys.stdout.buffer.write(b"\\xa9\\n"); sys.stdout.flush()
        print("\\x1b[31mred\\x1b[0m", file=sys.stderr)
        print("no line end", end="")
    """
    lines, _, code = run(process, qtbot, program)
    assert lines == ["café", "red", "no line end"]
    assert code == 0


def test_a_progress_bar_is_no_line_until_it_ends(process: TrainProcess, qtbot) -> None:
    program = """
        import sys, time
        for share in (10, 50, 100):
            sys.stderr.write(f"\\r{share} %"); sys.stderr.flush(); time.sleep(0.1)
        print(file=sys.stderr)
    """
    lines, shown, _ = run(process, qtbot, program)
    assert lines == ["100 %"]
    assert shown[0] == "10 %"


@pytest.mark.parametrize("code", [0, 2, 3])
def test_the_exit_code_is_the_commands(process: TrainProcess, qtbot, code: int) -> None:
    assert run(process, qtbot, f"raise SystemExit({code})")[2] == code


def test_what_ends_a_command_on_windows_gets_no_pipe_that_is_waited_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0, raising=False)
    monkeypatch.setattr(
        subprocess, "run", lambda words, **how: ran.append((words[0], how.get("stdin")))
    )
    train_launcher._kill(SimpleNamespace(pid=1))
    assert ran == [("taskkill", subprocess.DEVNULL)]


@posix
@pytest.mark.parametrize("manner", [[], ["--deaf"]], ids=["polite", "deaf"])
def test_stop_ends_the_command_and_its_children(
    process: TrainProcess, qtbot, family: list[str], manner: list[str]
) -> None:
    ends: list[bool] = []
    process.finished.connect(lambda code, stopped: ends.append(stopped))
    process.start([*family, *manner])
    both = pids(qtbot, family)
    assert all(alive(pid) for pid in both)
    started = time.monotonic()
    process.stop()
    assert process.stopping
    qtbot.waitUntil(lambda: bool(ends), timeout=PATIENCE_MS)
    assert ends == [True]
    assert not any(alive(pid) for pid in both)
    if manner:
        assert time.monotonic() - started > 0.9, "killed before the grace period was over"


@posix
def test_a_child_that_outlives_the_command_is_ended_too(
    process: TrainProcess, qtbot, family: list[str]
) -> None:
    ends: list[bool] = []
    process.finished.connect(lambda code, stopped: ends.append(stopped))
    process.start([*family, "--leave"])
    both = pids(qtbot, family)
    qtbot.waitUntil(lambda: bool(ends), timeout=PATIENCE_MS)
    assert ends == [False]
    assert not any(alive(pid) for pid in both)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells of a parent's death")
def test_a_command_does_not_outlive_its_launcher(
    process: TrainProcess, qtbot, family: list[str]
) -> None:
    codes: list[int] = []
    process.finished.connect(lambda code, stopped: codes.append(code))
    process.start(family)
    command, child = pids(qtbot, family)
    os.kill(process._process.processId(), signal.SIGKILL)
    qtbot.waitUntil(lambda: bool(codes), timeout=PATIENCE_MS)
    try:
        qtbot.waitUntil(lambda: not alive(command), timeout=PATIENCE_MS)
        assert codes == [128 + signal.SIGKILL]
    finally:
        os.kill(child, signal.SIGKILL)


@posix
def test_nothing_outlives_a_window_that_is_killed(qtbot, family: list[str]) -> None:
    window = """
        import sys
        from qtpy.QtCore import QCoreApplication
        from napari_hmkd.widgets.train_process import TrainProcess
        application = QCoreApplication([])
        process = TrainProcess(grace_s=1.0)
        process.start(sys.argv[1:])
        application.exec()
    """
    program = [sys.executable, "-c", textwrap.dedent(window), *family]
    with subprocess.Popen(program) as running:
        both = pids(qtbot, family)
        running.send_signal(signal.SIGKILL)
    qtbot.waitUntil(lambda: not any(alive(pid) for pid in both), timeout=PATIENCE_MS)


def test_one_that_was_abandoned_leaves_nothing_behind(qapp) -> None:
    process = TrainProcess()
    process.abandon()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not isalive(process._process)


@pytest.mark.parametrize("where", ["window", "thread"])
def test_one_that_nobody_knows_any_more_ends_with_its_children(
    qapp, qtbot, family: list[str], where: str
) -> None:
    """Python collects what nobody knows in whatever thread it is at."""
    process = TrainProcess(grace_s=1.0)
    process.start(family)
    launched, both = process._process, pids(qtbot, family)
    process.itself = process  # only the collector takes it
    del process
    if where == "window":
        gc.collect()
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(gc.collect).result()
    qtbot.waitUntil(lambda: not any(alive(pid) for pid in both), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: not isalive(launched), timeout=PATIENCE_MS)
