"""Runs side by side and killed runs: results are whole, a user's files stay, and nothing is left over."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from napari_hmkd import leftovers
from napari_hmkd.durable import replaced_file
from napari_hmkd.export.cohort import cohort_row, write_cohort
from napari_hmkd.export.folder import RESULTS, result_folders
from napari_hmkd.leftovers import hidden_beside, in_use, one_at_a_time
from napari_hmkd.output_folder import replaced_folder
from napari_hmkd.training.files import write_whole

NOTES = "notes of mine.txt"


def write(folder: Path, text: str = "new") -> None:
    with replaced_folder(folder, RESULTS) as part:
        for name in ("summary.json", "tiles.csv"):
            (part / name).write_text(text, encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Older results with a user's notes."""
    write(tmp_path / "slide.svs", "old")
    (tmp_path / "slide.svs" / NOTES).write_text("dear diary", encoding="utf-8")
    return tmp_path / "slide.svs"


def make_old(path: Path) -> None:
    """As if nothing had been written there for two hours."""
    for one in (path, *path.rglob("*")):
        os.utime(one, (time.time() - 7200,) * 2)


def side_by_side(work: Callable[[int], object], runs: int = 4, times: int = 20) -> list[Exception]:
    """The errors of some threads that do the same work many times."""
    errors: list[Exception] = []

    def repeat(number: int) -> None:
        for _ in range(times):
            try:
                work(number)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_runs_that_replace_one_folder_do_not_fail_and_lose_nothing(folder: Path) -> None:
    assert side_by_side(lambda number: write(folder, f"run {number}")) == []
    assert names(folder.parent) == ["slide.svs"]
    assert names(folder) == [NOTES, "summary.json", "tiles.csv"]
    assert (folder / NOTES).read_text(encoding="utf-8") == "dear diary"
    assert (folder / "summary.json").read_text() == (folder / "tiles.csv").read_text()


def test_runs_that_change_one_file_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "out" / "count.txt"

    def count(_: int) -> None:
        with one_at_a_time(path):
            before = int(path.read_text()) if path.exists() else 0
            time.sleep(0.001)
            path.write_text(str(before + 1))

    assert side_by_side(count, runs=4, times=5) == []
    assert path.read_text() == "20"
    assert names(path.parent) == ["count.txt"]


def test_a_lock_that_another_run_still_holds_stays_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_PATIENCE_S", 0.05)
    with one_at_a_time(tmp_path / "cohort.csv"):
        held = names(tmp_path)
        with one_at_a_time(tmp_path / "cohort.csv"):  # it has waited long enough
            pass
        assert names(tmp_path) == held != []
    assert names(tmp_path) == []


def test_a_lock_that_was_taken_for_abandoned_as_it_was_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, lost = leftovers.FileLock.acquire, []

    def acquire_and_lose(lock: leftovers.FileLock, **options: float) -> object:
        held = acquire(lock, **options)
        if not lost:
            lost.append(lock.lock_file)
            Path(lock.lock_file).unlink()
        return held

    monkeypatch.setattr(leftovers.FileLock, "acquire", acquire_and_lose)
    with in_use(hidden_beside(tmp_path / "slide.svs", "part")):
        assert [str(tmp_path / name) for name in names(tmp_path)] == lost
    assert names(tmp_path) == []


WITHOUT_LOCKS = """
import errno, fcntl, sys
from pathlib import Path

def refuse(*_):
    raise OSError(getattr(errno, sys.argv[2]), "no locks here")

fcntl.flock = refuse
from napari_hmkd.durable import replaced_file
from napari_hmkd.leftovers import one_at_a_time
from napari_hmkd.output_folder import FolderKind, replaced_folder

kind = FolderKind("results", frozenset(["summary.json"]), frozenset(["summary.json"]))
out = Path(sys.argv[1])
for text in ("old", "new"):
    with replaced_folder(out / "slide.svs", kind) as part:
        (part / "summary.json").write_text(text)
    with one_at_a_time(out / "a.csv"), replaced_file(out / "a.csv") as part:
        part.write_text(text)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs flock")
@pytest.mark.parametrize("answer", ["ENOSYS", "ENOLCK"])
def test_where_there_are_no_locks_all_is_written_and_nobody_is_bothered(
    tmp_path: Path, answer: str
) -> None:
    command = [sys.executable, "-c", WITHOUT_LOCKS, str(tmp_path), answer]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(tmp_path) == ["a.csv", "slide.svs"]
    assert (tmp_path / "slide.svs" / "summary.json").read_text(encoding="utf-8") == "new"


def test_runs_that_write_one_table_do_not_fail_and_the_last_one_s_stays_whole(
    tmp_path: Path,
) -> None:
    def write_table(number: int) -> None:
        write_cohort([cohort_row(f"/a/{number}.svs", "failed", "x" * 2000, {})] * 50, tmp_path)

    assert side_by_side(write_table) == []
    assert names(tmp_path) == ["cohort.csv", "cohort.html"]
    rows = (tmp_path / "cohort.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(rows) == 50
    assert len(set(rows)) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from napari_hmkd import output_folder

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

plain, (folder, moment) = output_folder.renamed, sys.argv[1:]
if moment == "old moved away":
    output_folder.renamed = lambda part, target: plain(part, target) if target.exists() else die()
elif moment == "new in place":
    output_folder.take_over = die
kind = output_folder.FolderKind("results", frozenset(["summary.json"]), frozenset(["summary.json"]))
with output_folder.replaced_folder(Path(folder), kind) as part:
    (part / "summary.json").write_text("new")
    if moment == "writing":
        die()
"""


def kill(folder: Path, moment: str) -> None:
    command = [sys.executable, "-c", KILLED, str(folder), moment]
    assert subprocess.run(command, timeout=120).returncode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize("again", ["looked for", "written"])
@pytest.mark.parametrize(
    ("moment", "stays"), [("writing", "old"), ("old moved away", "old"), ("new in place", "new")]
)
def test_what_a_killed_run_left_is_put_right_by_the_next_one(
    folder: Path, moment: str, stays: str, again: str
) -> None:
    kill(folder, moment)
    assert len(names(folder.parent)) > 1 or moment == "old moved away"
    for part in folder.parent.glob(".*.part"):
        make_old(part)
    if again == "looked for":
        result_folders(folder.parent, [Path("slide.svs")])
    else:
        write(folder, stays)
    assert names(folder.parent) == ["slide.svs"]
    assert (folder / NOTES).read_text(encoding="utf-8") == "dear diary"
    assert (folder / "summary.json").read_text(encoding="utf-8") == stays


def test_the_part_of_a_run_that_lives_is_left_alone(folder: Path) -> None:
    with replaced_folder(folder, RESULTS) as part:
        (part / "summary.json").write_text("slow", encoding="utf-8")
        write(folder, "fast")
        result_folders(folder.parent, [Path("slide.svs")])
        assert (part / "summary.json").exists()
    assert (folder / "summary.json").read_text(encoding="utf-8") == "slow"
    assert names(folder.parent) == ["slide.svs"]


def test_a_part_without_a_lock_stays_until_nothing_has_been_written_there_for_long(
    folder: Path,
) -> None:
    """Some network drives do not show a lock to other machines."""
    part = hidden_beside(folder, "part")
    (part / "heatmap.ome.zarr").mkdir(parents=True)
    make_old(part)
    (part / "heatmap.ome.zarr" / "zarr.json").write_text("{}", encoding="utf-8")
    os.utime(part / "heatmap.ome.zarr", (0, 0))
    result_folders(folder.parent, [Path("slide.svs")])
    assert part.exists()
    make_old(part)
    result_folders(folder.parent, [Path("slide.svs")])
    assert names(folder.parent) == ["slide.svs"]


def test_a_file_that_a_killed_run_left_half_written_goes_when_it_is_written_again(
    tmp_path: Path,
) -> None:
    bag = tmp_path / "a.h5"
    left, young, of_another = (
        hidden_beside(path, "part") for path in (bag, bag, tmp_path / "b.h5")
    )
    for part in (left, young, of_another):
        part.write_bytes(b"half")
    make_old(left)
    make_old(of_another)
    with replaced_file(bag) as part:
        part.write_bytes(b"whole")
    assert set(names(tmp_path)) == {"a.h5", young.name, of_another.name}


def test_of_two_files_of_a_user_with_one_name_both_are_kept(folder: Path) -> None:
    old = hidden_beside(folder, "old")
    old.mkdir()
    (old / NOTES).write_text("older", encoding="utf-8")
    result_folders(folder.parent, [Path("slide.svs")])
    kept = {name: (folder / name).read_text() for name in names(folder) if "notes" in name}
    assert kept == {NOTES: "dear diary", "notes of mine (2).txt": "older"}


@pytest.fixture
def nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(leftovers, "_PAUSE_S", 0)


def test_an_older_folder_that_cannot_be_put_back_stays_and_is_told(
    folder: Path, nothing_moves: None, caplog: pytest.LogCaptureFixture
) -> None:
    old = hidden_beside(folder, "old")
    old.mkdir()
    leftovers.tidy_up([folder], RESULTS.entries)
    assert old.is_dir()
    assert f"{old} could not be put back to {folder}: [Errno {errno.EIO}]" in caplog.text


def test_what_a_user_keeps_in_an_older_folder_stays_there_where_it_cannot_be_moved(
    folder: Path, nothing_moves: None, caplog: pytest.LogCaptureFixture
) -> None:
    newer = folder.with_name("newer")
    leftovers.take_over(folder, newer, RESULTS.entries)
    assert names(folder) == [NOTES]
    assert f"{folder} could not be emptied into {newer}; the next run tries again" in caplog.text


def test_hidden_files_of_others_are_left_alone(folder: Path) -> None:
    others = [".hidden", ".0123.part", hidden_beside(folder.with_name("b.svs"), "part").name]
    for name in others:
        (folder.parent / name).mkdir()
    write(folder)
    assert set(names(folder.parent)) == {"slide.svs", *others}


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on Windows, where something looks for viruses in each file just after it was written."""
    rename, replace = Path.rename, os.replace
    looks: Counter[Path] = Counter()

    def refuse_at_first(source: Path) -> None:
        looks[source] += 1
        if looks[source] < 3:
            raise PermissionError(errno.EACCES, "in use by another program", str(source))

    def rename_later(source: Path, target: Path) -> Path:
        refuse_at_first(source)
        return rename(source, target)

    def replace_later(source: Path, target: Path) -> None:
        refuse_at_first(source)
        replace(source, target)

    monkeypatch.setattr(Path, "rename", rename_later)
    monkeypatch.setattr(os, "replace", replace_later)
    yield
    assert looks


def test_a_file_that_another_program_has_open_for_a_moment_is_replaced(
    scanned: None, tmp_path: Path
) -> None:
    for text in ("old", "new"):
        with replaced_file(tmp_path / "cohort.csv") as part:
            part.write_text(text, encoding="utf-8")
        write_whole(tmp_path / "metrics.csv", text.encode())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "cohort.csv": "new",
        "metrics.csv": "new",
    }


def test_a_folder_that_another_program_looks_into_for_a_moment_is_replaced(
    scanned: None, folder: Path
) -> None:
    write(folder)
    assert (folder / NOTES).read_text(encoding="utf-8") == "dear diary"
    assert names(folder.parent) == [folder.name]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In which order files are pushed to the disk, and names are changed."""
    found: list[str] = []
    push, rename, replace = os.fsync, Path.rename, os.replace

    def log_push(handle: int) -> None:
        found.append(f"push {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        push(handle)

    def log_rename(source: Path, target: Path) -> Path:
        found.append(f"name {target.name}")
        return rename(source, target)

    def log_replace(source: Path, target: Path) -> None:
        found.append(f"name {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", log_push)
    monkeypatch.setattr(Path, "rename", log_rename)
    monkeypatch.setattr(os, "replace", log_replace)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's names of open files")
def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, events: list[str]) -> None:
    out = tmp_path / "out"
    with replaced_folder(out / "slide.svs", RESULTS) as part:
        (part / "heatmap.ome.zarr").mkdir()
        for name in ("summary.json", "heatmap.ome.zarr/zarr.json"):
            (part / name).write_text("{}", encoding="utf-8")
    assert set(events[:-2]) == {
        f"push {name}" for name in ("summary.json", "zarr.json", "heatmap.ome.zarr", part.name)
    }
    assert events[-2:] == ["name slide.svs", "push out"]
    events.clear()
    with replaced_file(out / "cohort.csv") as part:
        part.write_text("a", encoding="utf-8")
    assert events == [f"push {part.name}", "name cohort.csv", "push out"]
