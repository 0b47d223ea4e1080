"""Whole files or none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from napari_hmkd.errors import OutputError
from napari_hmkd.training.files import write_whole

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
