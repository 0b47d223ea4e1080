"""What an OME-TIFF says about the files that it consists of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide


def test_files_that_an_ome_tiff_names_must_be_there(tmp_path: Path, noise, write_channel_files):
    pixels = noise(90, 80)
    write_channel_files(tmp_path, pixels)
    with open_slide(tmp_path / "m0.ome.tif") as slide:
        assert np.array_equal(slide.read_level(0, Region(0, 0, 90, 80)), pixels)
    (tmp_path / "m2.ome.tif").unlink()
    for name in ("m0.ome.tif", "m1.ome.tif"):
        with pytest.raises(SlideError, match=rf"{name}' is a part .*: m2\.ome\.tif\. Put"):
            open_slide(tmp_path / name)


@pytest.mark.parametrize("name", ["m0.ome.tif", "m1.ome.tif"])
def test_channels_in_files_of_their_own_can_be_jpegs(
    tmp_path: Path, noise, write_channel_files, name: str
):
    write_channel_files(tmp_path, noise(90, 80), compression="jpeg")
    stored = [tifffile.imread(tmp_path / f"m{c}.ome.tif", is_ome=False) for c in range(3)]
    with open_slide(tmp_path / name) as slide:
        found = slide.read_level(0, Region(0, 0, 90, 80))
    assert np.array_equal(found, np.stack(stored, axis=-1))
