"""What goes wrong in the middle: a stalled drive, a file that goes, a slide closed under its readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import Slide, find_tissue, open_slide, pyramid
from napari_hmkd.slide import slide as slide_module


@pytest.fixture
def path(tmp_path: Path, noise, write_pyramid) -> Path:
    write_pyramid(tmp_path / "Präparat 1.tif", noise(600, 700), levels=2)
    return tmp_path / "Präparat 1.tif"


@pytest.fixture
def stalling(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Slide, threading.Event]]:
    """A slide whose file answers no more until the event is set."""
    for module, limit in (("slide", "READING_LIMIT_S"), ("pyramid", "DRAWING_LIMIT_S")):
        monkeypatch.setattr(import_module(f"napari_hmkd.slide.{module}"), limit, 0.2)
    answer = threading.Event()
    with open_slide(path) as slide:
        read = slide.reader.backend.read

        def stalled(level: int, region: Region) -> np.ndarray:
            answer.wait(20)
            return read(level, region)

        monkeypatch.setattr(slide.reader.backend, "read", stalled)
        yield slide, answer
        answer.set()


def test_a_stalled_drive_is_drawn_as_unreadable_and_then_as_itself(stalling, noise, caplog):
    slide, answer = stalling
    started = time.monotonic()
    base = pyramid(slide)[0]
    marked = base[:512, :512].compute()
    base[512:, :].compute()  # not waited for again
    assert time.monotonic() - started < 5
    assert {tuple(colour) for colour in marked.reshape(-1, 3)} == {(255, 0, 255), (0, 0, 0)}
    assert "did not answer within 0.2 s" in caplog.text
    answer.set()
    sound, end = noise(600, 700)[:100, :100], time.monotonic() + 5
    while not np.array_equal(
        base[:100, :100].compute(), sound
    ):  # until the stalled reads have ended
        assert time.monotonic() < end


def test_a_stalled_drive_ends_the_search_for_tissue(stalling):
    slide, _ = stalling
    with pytest.raises(SlideStalledError, match="disk or network"):
        find_tissue(slide)


def test_a_file_beside_that_goes_while_its_slide_is_opened_is_an_error_that_closes_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    closed = threading.Event()
    opened = SimpleNamespace(
        close=closed.set, vendor=None, files_beside=(path.with_name("beside.tif"),)
    )
    monkeypatch.setattr(slide_module, "open_backend", lambda *_: (opened, "half gone"))
    with pytest.raises(SlideReadError, match=r"beside\.tif' cannot be read any more: .*try again"):
        open_slide(path)
    assert closed.is_set()


def test_opening_from_a_stalled_drive_ends(path: Path, monkeypatch: pytest.MonkeyPatch):
    answer, closed = threading.Event(), threading.Event()

    def open_late(*_) -> tuple[SimpleNamespace, str]:
        answer.wait(20)
        return SimpleNamespace(close=closed.set), "late"

    monkeypatch.setattr(slide_module, "READING_LIMIT_S", 0.2)
    monkeypatch.setattr(slide_module, "open_backend", open_late)
    with pytest.raises(SlideStalledError, match="Präparat 1"):
        open_slide(path)
    answer.set()
    assert closed.wait(5), "what is opened too late is closed again"


@pytest.mark.parametrize("backend", ["tifffile", "openslide"])
def test_a_file_that_is_cut_while_it_is_open(path: Path, backend: str):
    with open_slide(path, backend=backend) as slide:
        with path.open("r+b") as file:
            file.truncate(5000)
        with pytest.raises(SlideReadError, match="Präparat 1"):
            slide.read_level(0, Region(300, 300, 200, 200))


@pytest.mark.parametrize("backend", ["tifffile", "openslide"])
def test_closing_under_readers_is_an_error_of_theirs(path: Path, backend: str):
    for _ in range(5):
        slide = open_slide(path, backend=backend)
        ends, begun = [], threading.Barrier(5)

        def read(slide=slide, ends=ends, begun=begun) -> None:
            begun.wait()
            try:
                for place in range(400):
                    pixels = slide.read_level(0, Region(place % 500, place % 600, 90, 90))
                    assert pixels.any()
                ends.append("all read")
            except SlideReadError as error:
                ends.append(str(error))

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        begun.wait()
        time.sleep(0.01)
        slide.close()
        for reader in readers:
            reader.join(20)
        assert len(ends) == 4
        assert all(end == "all read" or "closed" in end for end in ends)
