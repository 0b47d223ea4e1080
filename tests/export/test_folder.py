"""Result folders: complete or not there, and nothing else is ever lost."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_hmkd.errors import OutputError
from napari_hmkd.export import folder as folder_module
from napari_hmkd.export.folder import RESULTS, result_folders
from napari_hmkd.output_folder import replaced_folder


def write(folder: Path, text: str = "new") -> None:
    with replaced_folder(folder, RESULTS) as part:
        (part / "summary.json").write_text(text, encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", ["slide.svs", "with spaces.svs", "Gewebe ü 組織.ndpi"])
def test_a_folder_is_made_with_its_parents(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "not there yet" / name
    write(folder)
    assert names(folder.parent) == [name]
    assert names(folder) == ["summary.json"]


def test_a_result_folder_is_replaced_and_a_user_s_own_files_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "slide.svs"
    write(folder, "old")
    (folder / "notes of mine.txt").write_text("dear diary", encoding="utf-8")
    write(folder, "new")
    assert names(folder) == ["notes of mine.txt", "summary.json"]
    assert (folder / "summary.json").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["slide.svs"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: type[BaseException]) -> None:
    folder = tmp_path / "slide.svs"
    write(folder, "old")

    def fail_half_way() -> None:
        with replaced_folder(folder, RESULTS) as part:
            (part / "summary.json").write_text("half", encoding="utf-8")
            raise failure

    with pytest.raises(failure):
        fail_half_way()
    assert (folder / "summary.json").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["slide.svs"]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left"),
        replaced_folder(tmp_path / "slide.svs", RESULTS),
    ):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


@pytest.mark.parametrize("answer", [errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.EPERM])
def test_results_are_replaced_whatever_a_drive_says_of_a_name_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    """Disks of Linux say ENOTEMPTY or EEXIST, network drives by CIFS and sshfs EACCES or EPERM."""
    folder, rename = tmp_path / "slide.svs", Path.rename
    write(folder, "old")
    (folder / "notes of mine.txt").write_text("dear diary", encoding="utf-8")

    def refuse(self: Path, target: Path) -> Path:
        if target.is_dir():
            raise OSError(answer, os.strerror(answer), str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    write(folder, "new")
    assert (folder / "summary.json").read_text(encoding="utf-8") == "new"
    assert names(folder) == ["notes of mine.txt", "summary.json"]
    assert names(tmp_path) == ["slide.svs"]


def test_a_folder_that_another_run_moves_away_meanwhile_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, iterdir, looked_at = tmp_path / "slide.svs", Path.iterdir, []
    folder.mkdir()

    def gone_at_first(self: Path) -> Iterator[Path]:
        if self == folder and not looked_at:
            looked_at.append(self)
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", gone_at_first)
    assert result_folders(tmp_path, [Path("slide.svs")]) == [folder]
    assert looked_at == [folder]


@pytest.mark.parametrize("answer", [errno.EACCES, errno.EBUSY])
def test_the_old_results_come_back_if_the_new_cannot_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    folder = tmp_path / "slide.svs"
    write(folder, "old")
    rename = Path.rename

    def locked(self: Path, target: Path) -> Path:  # as Windows does with a file that is open
        if self.suffix == ".part":
            raise OSError(answer, "in use by another program")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", locked)
    with pytest.raises(OutputError, match="in use by another program"):
        write(folder, "new")
    assert (folder / "summary.json").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["slide.svs"]


def test_a_folder_that_cannot_be_is_refused_before_and_when_it_is_written(
    impossible_folder: Path,
) -> None:
    for attempt in (
        lambda: result_folders(impossible_folder, [Path("one.svs")]),
        lambda: write(impossible_folder / "one.svs"),
    ):
        with pytest.raises(OutputError, match=r"^asked to write results to .*choose") as caught:
            attempt()
        assert str(impossible_folder) in str(caught.value)


def test_an_older_folder_that_cannot_be_entered_is_refused(
    closed_folder: Path,
) -> None:
    with pytest.raises(OutputError, match=r"Permission denied.*look at its permissions"):
        result_folders(closed_folder.parent, [Path(closed_folder.name)])


def test_an_output_folder_that_may_not_be_listed_is_refused(closed_folder: Path) -> None:
    with pytest.raises(OutputError, match=r"^asked to write results to .*look at its permissions"):
        result_folders(closed_folder, [Path("one.svs")])


@pytest.mark.skipif(sys.platform == "win32", reason="keeps the folder that a program works in")
def test_a_working_folder_that_has_gone_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for attempt in (
        lambda: result_folders(Path("out"), [Path("one.svs")]),
        lambda: write(Path("out")),
    ):
        with pytest.raises(OutputError, match="asked to write results to out, but"):
            attempt()


def test_the_slide_itself_is_never_taken_for_a_result_folder(tmp_path: Path) -> None:
    slide = tmp_path / "slide.svs"
    slide.write_bytes(b"precious")
    store = tmp_path / "slide.zarr"
    (store / "0").mkdir(parents=True)
    for path in (slide, store):
        with pytest.raises(OutputError, match="left alone"):
            result_folders(tmp_path, [path])
        with pytest.raises(OutputError, match="left alone"):
            write(path)
    assert slide.read_bytes() == b"precious"
    assert names(store) == ["0"]


def test_each_slide_has_a_folder_of_its_name(tmp_path: Path) -> None:
    slides = [Path("a/one.svs"), Path("b/two.svs"), tmp_path / "three.svs" / "."]
    assert result_folders(tmp_path / "out", slides) == [
        tmp_path / "out" / name for name in ("one.svs", "two.svs", "three.svs")
    ]
    assert names(tmp_path) == []


@pytest.mark.parametrize("other", ["b/one.svs", "b/ONE.svs", "a/one.svs"])
def test_two_slides_of_one_name_are_refused(tmp_path: Path, other: str) -> None:
    with pytest.raises(OutputError, match=r"one\.svs"):
        result_folders(tmp_path, [Path("a/one.svs"), Path(other)])


def test_a_file_is_no_folder_for_results(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.touch()
    for out in (file, file / "below"):
        with pytest.raises(OutputError, match="is a file"):
            result_folders(out, [Path("one.svs")])


@pytest.mark.parametrize(
    ("platform", "name", "advice"),
    [
        ("win32", "x" * 250, "choose a shorter output folder"),
        ("win32", "x", "close programs"),
        ("linux", "x" * 250, "close programs"),
    ],
)
def test_a_path_too_long_for_windows_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, name: str, advice: str
) -> None:
    """There it is one that is not found."""
    lacking = FileNotFoundError(errno.ENOENT, "cannot find the path", str(tmp_path / name))
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(OutputError, match=advice):
        raise RESULTS.unwritable(tmp_path / "a", lacking)


def test_a_drive_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows has drives and servers; elsewhere the root is always there."""
    monkeypatch.setattr(folder_module, "is_there", lambda path: False)
    with pytest.raises(OutputError, match=r"there is no .+; choose another folder"):
        result_folders(tmp_path / "out", [Path("one.svs")])


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="not writable"):
        result_folders(tmp_path / "out", [Path("one.svs")])
