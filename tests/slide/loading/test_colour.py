"""Colours come to sRGB, and the way they took is on record."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.loading.colour import colour_path

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# The primaries of red and green change places: such a scanner's red is a screen's green.
SWAPPED = SRGB.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ")


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (None, "no ICC profile"),
        (SRGB, "is sRGB"),
        (b"not a profile at all", "cannot be used"),
        (SRGB[:200], "cannot be used"),
    ],
    ids=["none", "sRGB", "nonsense", "cut"],
)
def test_colours_that_need_no_change_are_left_alone(noise, profile: bytes | None, said: str):
    path = colour_path(profile)
    pixels = noise(20, 30)
    assert path.apply(pixels) is pixels
    assert said in path.description
    assert bool(path.warnings) == (said == "cannot be used")


@pytest.mark.parametrize("backend", ["tifffile", "openslide"])
def test_a_slides_profile_is_applied_wherever_it_is_read(tmp_path, backend: str):
    red = np.broadcast_to(np.array([200, 30, 60], np.uint8), (256, 256, 3))
    tifffile.imwrite(
        tmp_path / "ä.tif", red, photometric="rgb", tile=(128, 128), iccprofile=SWAPPED,
        compression="zlib" if backend == "tifffile" else None,
    )  # fmt: skip
    with open_slide(tmp_path / "ä.tif", mpp=0.5, backend=backend) as slide:
        assert "converted to sRGB" in slide.colour
        for pixels in (
            slide.read_level(0, Region(0, 0, 256, 256)),
            slide.read_level(0, Region(10, 10, 50, 50)),
            slide.read((3, 3), Size(40, 40), 1.0),
            slide.thumbnail(64),
        ):
            assert np.abs(pixels.astype(int) - (30, 200, 60)).max() <= 2
