"""Two runs never work in one folder at once, and a killed one is in nobody's way."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import OutputError
from napari_hmkd.training.claim import claimed
from napari_hmkd.training.config import (
    EngineSettings,
    ExportSettings,
    ParallelComputeSettings,
    TrainSettings,
)
from napari_hmkd.training.engine import Engine
from napari_hmkd.training.folder_lock import alone_in
from napari_hmkd.training.run import RunFolder
from napari_hmkd.training.workflow import train

HOLDER = """
import sys, time
from pathlib import Path
from napari_hmkd.training.folder_lock import alone_in

with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def at_work(folder: Path) -> str:
    """What a second run is told, as a pattern."""
    return re.escape(f"another run is at work in {folder}: wait")


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[None]:
    """A process holds the folder, and is killed."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.kill()


def test_a_folder_is_another_runs_until_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "Lauf ä"
    folder.mkdir()
    with (
        held_by_another_process(folder),
        pytest.raises(OutputError, match=at_work(folder)),
        alone_in(folder),
    ):
        pytest.fail("it is held")
    with alone_in(folder), pytest.raises(OutputError), alone_in(folder):
        pytest.fail("it is held")
    assert list(folder.iterdir()) == []


def test_what_a_killed_run_left_of_a_file_goes_with_the_next_that_works_there(
    tmp_path: Path,
) -> None:
    checkpoints = tmp_path / "HER2/fold_0/mkd/checkpoints"
    checkpoints.mkdir(parents=True)
    with held_by_another_process(tmp_path):
        for name in ("last.ckpt", "last.ckpt.4008.partial"):
            (checkpoints / name).touch()
        with pytest.raises(OutputError), alone_in(tmp_path):
            pytest.fail("it is held")
        assert len(list(checkpoints.iterdir())) == 2  # the other run may be writing it
    with alone_in(tmp_path):
        assert [path.name for path in checkpoints.iterdir()] == ["last.ckpt"]


def test_only_what_a_process_was_writing_goes_and_nothing_of_a_run_below(tmp_path: Path) -> None:
    piece = tmp_path / "runs/piece"
    piece.mkdir(parents=True)
    kept = [
        piece / "last.ckpt.4009.partial",
        tmp_path / "notes.partial",
        tmp_path / "a.old.partial",
    ]
    with held_by_another_process(piece):
        for path in (*kept, tmp_path / "last.ckpt.4008.partial"):
            path.touch()
        with alone_in(tmp_path):
            assert sorted(tmp_path.rglob("*.partial")) == sorted(kept)


def test_a_claimed_folder_is_free_again_after_a_kill(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path):
        (tmp_path / "plan.json.4008.partial").touch()  # killed before its record stood
    with claimed(tmp_path, "plan.json", {"size": 1}, "experiment"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_second_run_is_refused_until_the_first_has_ended(
    bci_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = str(bci_folder(train=5)), tmp_path / "Lauf"
    settings = TrainSettings(
        engine=EngineSettings(epochs=1),
        compute=ParallelComputeSettings(batch_size=2, device="cpu"),
        export=ExportSettings(width=0.25),
    )
    trained = []

    def start_another(*_: object) -> None:
        trained.append(out)
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        with pytest.raises(OutputError, match=at_work(out)):
            train(data, out, settings, role="teacher", resume=True)
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before

    monkeypatch.setattr(Engine, "fit", start_another)  # and leave the run as if it had been paused
    for resume in (False, True):
        assert train(data, out, settings, role="teacher", resume=resume) is None
    assert trained == [out, out]  # and never by the second run


def test_of_two_that_start_at_once_the_later_one_is_refused(tmp_path: Path) -> None:
    """Both found nothing there, and read their data."""
    early, late, last = (RunFolder(tmp_path / "Lauf") for _ in range(3))
    for folder in (early, late, last):
        folder.require_usable()
    with early:
        early.begin({"name": "early"}, lambda: None)
        with late, pytest.raises(OutputError, match=at_work(late.path)):
            late.begin({"name": "late"}, lambda: None)
    with last, pytest.raises(OutputError, match="another run began and ended in"):
        last.begin({"name": "last"}, lambda: None)
    assert '"early"' in (tmp_path / "Lauf/settings.json").read_text(encoding="utf-8")
