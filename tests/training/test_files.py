"""Whole files or none, and what is left of those that a process could not finish."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from napari_hmkd.errors import OutputError
from napari_hmkd.training.files import remove_partials, write_whole

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("ended", "raised"), [(FULL, OutputError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_what_ends_before_it_was_written_leaves_the_file_before_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: BaseException, raised: type
) -> None:
    path = tmp_path / "last.ckpt"
    write_whole(path, b"old")

    def end(file: int) -> None:
        raise ended

    monkeypatch.setattr(os, "fsync", end)
    with pytest.raises(raised):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_a_process_was_writing_is_removed(tmp_path: Path) -> None:
    deep = tmp_path / "HER2/fold_0/checkpoints"
    deep.mkdir(parents=True)
    (deep / "last.ckpt.4008.partial").touch()
    kept = [deep / "last.ckpt", tmp_path / "notes.partial", tmp_path / "last.ckpt.old.partial"]
    for path in kept:
        path.touch()
    remove_partials(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
