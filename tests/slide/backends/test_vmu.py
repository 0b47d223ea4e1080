"""VMU: a small text file, and two NGR files beside it with pixels of 12 bits a colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
from tests.slide.backends.test_vendor_tiffs import tissue
from tests.vendor_slides.hamamatsu import MAP_STEP, write_vmu

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe
from napari_hmkd.slide.fingerprint import fingerprint

PIXELS = tissue(320, 448)
FILES = ("a.vmu", "a.ngr", "a_map2.ngr")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_vmu(tmp_path / "a.vmu", PIXELS, mpp=0.25)
    return tmp_path / "a.vmu"


def test_both_files_are_shown_to_the_last_bit_and_the_macro_image_is_not(path: Path):
    path = path.rename(path.with_suffix(".VMU"))
    with open_slide(path) as slide:
        assert (slide.backend, slide.vendor) == ("openslide", "hamamatsu")
        assert (slide.mpp, slide.mpp_source) == ((0.25, 0.25), "openslide.mpp-x")
        assert [level.downsample for level in slide.levels] == [1, MAP_STEP]
        assert (slide.size, slide.origin_px) == (Size(320, 448), (0, 0))
        for index, expected in enumerate((PIXELS, PIXELS[::MAP_STEP, ::MAP_STEP])):
            whole = Region(0, 0, *expected.shape[:2])
            assert np.array_equal(slide.read_level(index, whole), expected)
        facts = describe(slide)
        assert (facts["objective"], facts["scan date"]) == ("20x", "2013/07/09")
        assert facts["file size"].endswith("kB in 2 files with pixels")
    with openslide.OpenSlide(path) as own:
        assert set(own.associated_images) == {"macro"}


@pytest.mark.parametrize("name", FILES)
def test_a_change_in_any_file_makes_another_slide(path: Path, name: str):
    known = []
    for _ in range(2):
        with open_slide(path) as slide:
            known.append(fingerprint(slide))
        stored = path.with_name(name).read_bytes()
        path.with_name(name).write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    assert known[0] != known[1]


@pytest.mark.parametrize(
    ("name", "left", "message"),
    [
        ("a.vmu", 0, "is empty"),
        ("a.vmu", 0.6, "may have been cut off"),
        *((name, None, f"open .*{name}") for name in FILES[1:]),
        *((name, 0, "cannot be opened.*copy it again") for name in FILES[1:]),
        *((name, share, rf"{name}' is truncated") for name in FILES[1:] for share in (0.3, 0.999)),
    ],
)
def test_a_copy_that_is_not_whole_is_no_slide(path: Path, name: str, left: float | None, message):
    file = path.with_name(name)
    stored = file.read_bytes()
    file.unlink()
    if left is not None:
        file.write_bytes(stored[: int(left * len(stored))])
    with pytest.raises(SlideError, match=message):
        open_slide(path)
