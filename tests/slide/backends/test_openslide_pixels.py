"""RGB of what OpenSlide decodes, by the short way and by the binding's public one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import openslide
import pytest
from PIL import Image

from napari_hmkd.slide.backends import openslide_pixels
from napari_hmkd.slide.backends.openslide_pixels import read_rgb

HEIGHT, WIDTH = 60, 80


@pytest.fixture
def handle(tmp_path: Path, noise, write_pyramid) -> Iterator[openslide.OpenSlide]:
    write_pyramid(tmp_path / "a.tif", noise(HEIGHT, WIDTH), levels=2)
    with openslide.OpenSlide(tmp_path / "a.tif") as handle:
        yield handle


@pytest.fixture(params=["short way", "the binding's names are others"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "short way":
        monkeypatch.setattr(openslide_pixels, "lowlevel", ModuleType("lowlevel"))


@pytest.mark.usefixtures("way")
def test_opaque_pixels_are_the_files(handle, noise):
    pixels = read_rgb(handle, (7, 5), 0, (40, 30))
    assert (pixels.dtype, pixels.flags.c_contiguous) == (np.uint8, True)
    assert np.array_equal(pixels, noise(HEIGHT, WIDTH)[5:35, 7:47])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("corner", [(-3, -5), (1, 1)])  # of the latter all pixels lie between two
def test_transparent_pixels_lie_on_white(handle, corner):
    size = (WIDTH, HEIGHT)
    image = handle.read_region(corner, 1, size)
    expected = Image.alpha_composite(Image.new("RGBA", size, "white"), image).convert("RGB")
    assert len(np.unique(np.asarray(image)[..., 3])) > 1
    difference = read_rgb(handle, corner, 1, size) - np.asarray(expected).astype(int)
    assert np.abs(difference).max() <= 1
