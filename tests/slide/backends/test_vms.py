"""VMS: a small text file, and JPEGs beside it with the pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.vendor_slides.hamamatsu import write_vms

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.finding import find_slides
from napari_hmkd.slide.fingerprint import fingerprint

PIXELS = np.kron(
    np.random.default_rng(0).integers(100, 200, (32, 32, 3), np.uint8),
    np.ones((16, 16, 1), np.uint8),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_vms(tmp_path / "a.vms", PIXELS, mpp=0.25)
    return tmp_path / "a.vms"


def test_the_jpegs_side_by_side_are_shown(path: Path):
    assert find_slides([str(path.parent)]) == [str(path)]
    with open_slide(path) as slide:
        assert (slide.size, slide.mpp) == (Size(512, 512), (0.25, 0.25))
        shown = slide.read_level(0, Region(0, 0, 512, 512)).astype(int)
        assert np.abs(shown - PIXELS).mean() < 2


@pytest.mark.parametrize("name", ["a.jpg", "a(1,0).jpg", "a_map2.jpg"])
def test_a_change_in_any_jpeg_makes_another_slide(path: Path, name: str):
    known = []
    for end in (b"\xff\xd9", b"\0\0\xff\xd9"):
        file = path.with_name(name)
        file.write_bytes(file.read_bytes()[:-2] + end)
        with open_slide(path) as slide:
            known.append(fingerprint(slide))
    assert known[0] != known[1]


@pytest.mark.parametrize("name", ["a.jpg", "a(1,0).jpg", "a_map2.jpg"])
def test_a_jpeg_that_was_cut_off_is_refused_when_it_is_opened(path: Path, name: str):
    file = path.with_name(name)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(SlideError, match=rf"{re.escape(name)}' is truncated.*Copy it again"):
        open_slide(path)
    file.write_bytes(whole + bytes(100))
    open_slide(path).close()


def test_another_focal_plane_is_no_part_of_what_is_shown(path: Path):
    path.with_name("other plane.jpg").write_bytes(path.with_name("a.jpg").read_bytes())
    text = path.read_text() + "\r\nImageFile(1)=other plane.jpg\r\nImageFile(1,1,0)=other plane.jpg"
    path.write_text(text.replace("NoLayers=1", "NoLayers=2"), newline="")
    with open_slide(path) as slide:
        names = {file.name for file in slide.reader.backend.files_beside}
    assert names == {"a.jpg", "a(1,0).jpg"}


def test_jpegs_may_lie_in_a_folder(path: Path):
    below = path.with_name("img")
    below.mkdir()
    path.with_name("a.jpg").rename(below / "a.jpg")
    path.write_text(path.read_text().replace("ImageFile=a.jpg", "ImageFile=img/a.jpg"), newline="")
    with open_slide(path) as slide:
        assert slide.reader.backend.files_beside[0] == below / "a.jpg"
