"""What the system refuses is told in a line with what helps; the program's own faults keep their traceback."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from io import UnsupportedOperation
from pathlib import Path

import pytest

from napari_hmkd import cohort, workers
from napari_hmkd.biomarkers import jobs
from napari_hmkd.cli import biomarkers_run, study
from napari_hmkd.cli.grade import main
from napari_hmkd.errors import DeviceError, refused_by_system

REFUSALS = {
    "memory": (MemoryError("Unable to allocate 32.0 MiB"), "Unable to allocate 32.0 MiB", "limits"),
    "memory without a word": (MemoryError(), "MemoryError", "limits"),
    "memory for torch": (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
        "DefaultCPUAllocator",
        "ulimit -v",
    ),
    "threads": (RuntimeError("can't start new thread"), "can't start new thread", "ulimit -u"),
    "a library": (
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        "libtorch_cpu.so",
        "ulimit -v",
    ),
    "files": (OSError(errno.EMFILE, "Too many open files"), "Too many open files", "ulimit -a"),
    "permission": (PermissionError(errno.EACCES, "denied", "a.txt"), "'a.txt'", "permissions"),
}
FAULTS = [
    ZeroDivisionError("division by zero"),
    RuntimeError("no"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "page.html"),
    OSError(errno.EBADF, "Bad file descriptor"),
    UnsupportedOperation("not readable"),
    TimeoutError(),
]
REFUSED = pytest.mark.parametrize(
    ("error", "what", "advice"), REFUSALS.values(), ids=REFUSALS.keys()
)


ON_SLIDES = {
    cohort: lambda: (
        cohort.grade_to_folder(
            cohort.SlideJob("a.tif", Path("out"), "demo", cohort.GradeSettings())
        ).message
    ),
    jobs: lambda: (
        jobs.bag_to_file(jobs.BagJob("a.tif", Path("bag"), None, jobs.GradeSettings())).message
    ),
    biomarkers_run: lambda: biomarkers_run._predict(
        biomarkers_run.BiomarkerJob("a.tif", Path("out"), None, None, jobs.GradeSettings())
    )[2],
}
ON_EACH = pytest.mark.parametrize("part", ON_SLIDES, ids=lambda part: part.__name__.split(".")[-1])


@ON_EACH
@REFUSED
def test_a_slide_that_the_system_refuses_has_a_line(
    part, error, what, advice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(part, "opened_as_stated", raising(error))
    said = ON_SLIDES[part]()
    assert said.startswith("a.tif: ")
    assert what in said
    assert advice in said
    assert not caplog.records


@ON_EACH
@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_slide_that_meets_a_fault_of_the_program_has_its_traceback_logged(
    part, error, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(part, "opened_as_stated", raising(error))
    with caplog.at_level(logging.ERROR):
        assert ON_SLIDES[part]() == f"a.tif: {error!r}"
    assert "Traceback" in caplog.text


@REFUSED
def test_a_command_that_the_system_refuses_ends_in_a_line(
    error, what, advice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "complain", raising(error))
    with pytest.raises(SystemExit) as ended:
        main(["study", "no.csv", "--out", "no"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert what in line
    assert advice in line


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_command_that_meets_a_fault_of_the_program_raises_it(
    error, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "complain", raising(error))
    with pytest.raises(type(error)):
        main(["study", "no.csv", "--out", "no"])


@pytest.mark.parametrize("code", [1450, 1455])
def test_memory_that_windows_lacks_is_told(code: int) -> None:
    error = OSError(errno.EINVAL, "torch_cpu.dll")
    error.winerror = code
    assert "ulimit -v" in refused_by_system(error)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a file of a full disk")
@pytest.mark.parametrize("module", ["napari_hmkd.cli.grade", "napari_hmkd.training.cli"])
def test_what_goes_to_a_full_disk_is_missed_in_a_line(module: str) -> None:
    pytest.importorskip(module, reason="needs the train extra")
    run = f"import sys; from {module} import main; sys.argv = ['x', '--help']; main()"
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", run], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "No space left on device; look at the free space" in line


def test_processes_that_cannot_be_started_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    monkeypatch.setattr(
        distributed, "LocalCluster", raising(RuntimeError("Cluster failed to start: no folder"))
    )
    with pytest.raises(DeviceError, match=r"in 2 processes .* no folder; .*TMPDIR"):
        list(workers.grade_with_workers([], 2))


def raising(error: Exception):
    def refuse(*_given: object, **_options: object) -> None:
        raise error

    return refuse
