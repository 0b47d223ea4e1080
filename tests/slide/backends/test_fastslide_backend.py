"""fastslide: only when asked for, and only where it sees what OpenSlide sees."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.vendor_slides.mirax import Mirax, write_mirax

from napari_hmkd.errors import SlideError, SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends import fastslide_backend
from napari_hmkd.slide.fingerprint import fingerprint

REGION = Region(60, 70, 90, 100)


def test_without_the_package_the_error_says_how_to_get_it(
    tmp_path, noise, write_pyramid, monkeypatch
):
    write_pyramid(tmp_path / "a.tif", noise(128, 128))
    monkeypatch.setitem(sys.modules, "fastslide", None)
    with pytest.raises(SlideError, match=r"napari-hmkd\[fast\].*tifffile opens it"):
        open_slide(tmp_path / "a.tif", backend="fastslide")


@pytest.fixture
def fastslide():
    return pytest.importorskip("fastslide", reason="needs the extra 'fast' (fastslide)")


@pytest.fixture
def path(tmp_path: Path, noise, write_pyramid) -> Path:
    write_pyramid(tmp_path / "Fläche 1.tif", noise(300, 400), levels=2)
    return tmp_path / "Fläche 1.tif"


def test_it_reads_what_openslide_reads(fastslide, path: Path):
    with (
        open_slide(path, backend="fastslide") as fast,
        open_slide(path, backend="openslide") as slow,
    ):
        assert (fast.backend, fast.vendor) == ("fastslide", slow.vendor)
        assert "agrees with OpenSlide" in fast.backend_reason
        assert (fast.mpp, fast.levels) == (slow.mpp, slow.levels)
        assert np.array_equal(fast.read_level(0, REGION), slow.read_level(0, REGION))
        assert np.array_equal(fast.read_level(1, REGION), slow.read_level(1, REGION))


def test_it_is_never_chosen(fastslide, path: Path):
    with open_slide(path) as slide:
        assert slide.backend != "fastslide"


class Wrong:
    """fastslide, but for one thing."""

    def __init__(self, sound, **wrong: object) -> None:
        self._sound, self._wrong = sound, wrong

    def __getattr__(self, name: str) -> object:
        return self._wrong.get(name, getattr(self._sound, name))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"level_dimensions": ((400, 300),)}, "levels"),
        ({"level_downsamples": (1.0, 4.0)}, "downsamples"),
        ({"mpp": (0.25, 0.5)}, "um/px"),
        ({"mpp": (0.0, 0.0)}, "um/px"),
    ],
)
def test_another_geometry_is_refused(fastslide, path: Path, monkeypatch, wrong, said: str):
    sound = fastslide_backend._open
    monkeypatch.setattr(fastslide_backend, "_open", lambda path: Wrong(sound(path), **wrong))
    with pytest.raises(SlideError, match=rf"{said}.*OpenSlide's.*tifffile opens it"):
        open_slide(path, backend="fastslide")


@pytest.mark.parametrize("shift", [(1, 0), (0, 1)])
def test_pixels_of_another_place_are_refused(
    fastslide, shared_data: Path, monkeypatch, shift: tuple[int, int]
):
    """A shift by one pixel on a blurred scan, the least of all differences that must be noticed."""
    sound = fastslide_backend._open

    def shifted(path: Path) -> Wrong:
        slide = sound(path)

        def read(corner: tuple[int, int], level: int, size: tuple[int, int]) -> object:
            return slide.read_region((corner[0] + shift[0], corner[1] + shift[1]), level, size)

        return Wrong(slide, read_region=read)

    monkeypatch.setattr(fastslide_backend, "_open", shifted)
    with pytest.raises(SlideError, match="its pixels differ from OpenSlide's at level"):
        open_slide(shared_data / "slides/her2st_C3_generic.tif", backend="fastslide")


@pytest.mark.parametrize(
    "name",
    [
        "cmu-1-small-region.svs",
        "cmu-1-small-region-dicom",
        "tcga-cr-7395-01a-01-ts1.svs",
        "her2st_C2.ome.tif",
        "her2st_C3_generic.tif",
        "boxes.tiff",
    ],
)
def test_it_agrees_on_real_slides(fastslide, shared_data: Path, name: str):
    with open_slide(shared_data / "slides" / name, backend="fastslide") as slide:
        assert slide.backend == "fastslide"
        assert slide.read_level(0, REGION).shape == (90, 100, 3)


def test_files_beside_an_mrxs_are_its_own_with_every_back_end(fastslide, tmp_path: Path):
    pixels = np.kron(
        np.random.default_rng(0).integers(90, 200, (9, 9, 3), np.uint8),
        np.ones((64, 64, 1), np.uint8),
    )
    write_mirax(
        tmp_path / "a.mrxs", pixels, Mirax(divisions=1, overlap=0, jitter=0, positions=None)
    )
    known = []
    for backend in ("fastslide", "openslide"):
        with open_slide(tmp_path / "a.mrxs", backend=backend) as slide:
            known.append((slide.reader.backend.files_beside, fingerprint(slide)))
    assert known[0] == known[1]
    assert {file.parent.name for file in known[0][0]} == {"a"}


def test_it_leaves_out_levels_of_this_slide_and_is_refused(fastslide, shared_data: Path):
    with pytest.raises(SlideError, match=r"its levels are.*openslide opens it"):
        open_slide(shared_data / "slides/fluorescence.ndpi", backend="fastslide")


def test_a_damaged_tile_fails_alone(fastslide, path: Path, damage):
    with open_slide(path, backend="fastslide") as slide:
        damage(path, 0)
        with pytest.raises(SlideReadError, match="Fläche 1"):
            slide.read_level(0, Region(0, 0, 30, 30))
        assert slide.read_level(0, Region(128, 128, 64, 64)).std() > 0


def test_a_read_that_never_ends_is_given_up(fastslide, path: Path, monkeypatch):
    over, sound = threading.Event(), fastslide_backend._open
    slide = Wrong(sound(path))
    monkeypatch.setattr(fastslide_backend, "_open", lambda path: slide)
    with open_slide(path, backend="fastslide") as opened:
        monkeypatch.setattr(fastslide_backend, "READING_LIMIT_S", 0.2)
        monkeypatch.setattr(slide, "_wrong", {"read_region": lambda *what: over.wait(30)})
        with pytest.raises(SlideReadError, match="fastslide did not answer"):
            opened.read_level(0, Region(0, 0, 30, 30))
        over.set()
