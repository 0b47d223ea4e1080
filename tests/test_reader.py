"""The napari reader: what it takes, what it leaves, what the layer says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.reader import get_reader
from napari_hmkd.slide import Slide


def write(path: Path, side: int = 64, levels: int = 1, **more: object) -> Path:
    pixels = np.zeros((side, side, 3), np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            step = 2**level
            tiff.write(
                pixels[::step, ::step],
                photometric="rgb",
                tile=(64, 64),
                compression="zlib",
                subfiletype=int(level > 0),
                **more,
            )
    return path


@pytest.mark.parametrize(
    ("side", "levels", "taken"), [(64, 1, False), (4095, 1, False), (4096, 1, True), (256, 2, True)]
)
def test_a_plain_small_tiff_is_left_to_others(tmp_path: Path, side: int, levels: int, taken: bool):
    assert (get_reader(str(write(tmp_path / "a.tif", side, levels))) is not None) is taken


@pytest.mark.parametrize("content", [b"", b"II*\0 no tiff"])
@pytest.mark.parametrize("name", ["a.tif", "a.dcm", "a.png", "a"])
def test_what_is_no_slide_is_left_to_others(tmp_path: Path, content: bytes, name: str):
    (tmp_path / name).write_bytes(content)
    assert get_reader(str(tmp_path / name)) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path / name)] * 2) is None


@pytest.mark.parametrize("name", ["a.svs", "B.NDPI", "c.mrxs"])
def test_an_unreadable_vendor_file_says_what_was_tried(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"no slide")
    reader = get_reader(str(tmp_path / name))
    assert reader is not None
    with pytest.raises(SlideError, match="OpenSlide knows no such format"):
        reader(str(tmp_path / name))


def test_a_vendor_file_without_a_readable_tile_is_an_error(shared_data: Path):
    path = str(shared_data / "slides/unreadable.svs")
    reader = get_reader(path)
    assert reader is not None
    with pytest.raises(SlideError, match="No part"):
        reader(path)


def test_the_layer_is_a_lazy_pyramid_at_true_scale(tmp_path: Path):
    path = write(
        tmp_path / "Schnitt 1 ä.tif", 256, 2, resolution=(20_000, 10_000), resolutionunit=3
    )
    reader = get_reader([str(path)])
    assert reader is not None
    [(levels, kwargs, kind)] = reader([str(path)])
    assert kind == "image"
    assert [level.shape for level in levels] == [(256, 256, 3), (128, 128, 3)]
    assert kwargs["scale"] == pytest.approx((1.0, 0.5))
    assert kwargs["units"] == ("micrometer", "micrometer")
    assert kwargs["name"] == path.name
    assert kwargs["rgb"]
    assert kwargs["multiscale"]
    slide = kwargs["metadata"]["napari_hmkd"]["slide"]
    assert isinstance(slide, Slide)
    assert slide.path == path


def test_a_slide_without_pixel_size_is_drawn_in_pixels(shared_data: Path):
    path = str(shared_data / "slides/tcga-cr-7395-01a-01-ts1.svs")
    reader = get_reader(path)
    assert reader is not None
    [(levels, kwargs, _)] = reader(path)
    assert (kwargs["scale"], kwargs["units"]) == ((1.0, 1.0), ("pixel", "pixel"))
    assert max(levels[-1].shape) <= 2048


@pytest.mark.parametrize("name", ["her2st_C2.ome.tif", "cmu-1-small-region-dicom", "boxes.tiff"])
def test_napari_takes_the_layer(shared_data: Path, name: str):
    layers = pytest.importorskip("napari.layers", reason="needs napari")
    path = str(shared_data / "slides" / name)
    reader = get_reader(path)
    assert reader is not None
    layer = layers.Layer.create(*reader(path)[0])
    assert layer.multiscale
    assert layer.rgb
