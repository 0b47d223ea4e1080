"""A file that threads share: closed at once, or by the last read under way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from napari_hmkd.slide.backends.shared_file import FileClosedError, SharedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "Fläche 1.bin").write_bytes(bytes(range(200)))
    return tmp_path / "Fläche 1.bin"


@pytest.fixture(params=["pread", "seek"])
def way(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a file is read on POSIX, and on Windows."""
    if request.param == "seek":
        monkeypatch.delattr("os.pread", raising=False)
    return request.param


def test_exactly_what_is_asked_for(path: Path, way: str):
    file = SharedFile(path)
    assert file.read(7, 5) == bytes(range(7, 12))
    assert file.read(0, 0) == b""
    with pytest.raises(ValueError, match="ends 50 bytes early"):
        file.read(150, 100)
    file.close()


def test_a_closed_file_says_so(path: Path, way: str):
    file = SharedFile(path)
    file.close()
    file.close()
    with pytest.raises(FileClosedError, match="closed"):
        file.read(0, 1)


def test_a_read_under_way_ends_before_the_file_is_closed(path: Path, monkeypatch):
    file = SharedFile(path)
    begun, go_on, found = threading.Event(), threading.Event(), []
    read = file._at

    def slow(offset: int, count: int) -> bytes:
        begun.set()
        go_on.wait(10)
        return read(offset, count)

    monkeypatch.setattr(file, "_at", slow)
    reader = threading.Thread(target=lambda: found.append(file.read(3, 4)))
    reader.start()
    assert begun.wait(10)
    file.close()
    with pytest.raises(FileClosedError):
        file.read(0, 1)
    assert not file._file.closed
    go_on.set()
    reader.join(10)
    assert found == [bytes(range(3, 7))]
    assert file._file.closed
