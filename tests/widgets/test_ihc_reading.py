"""The IHC of an H&E tile, where the layers lie over each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

pytest.importorskip("napari", reason="needs the napari extra")

import napari.layers

from napari_hmkd.errors import AlignmentError, SlideError
from napari_hmkd.planning import read_tile
from napari_hmkd.reader import read_slides
from napari_hmkd.tiling import TileGrid
from napari_hmkd.widgets.ihc_reading import ihc_reader
from napari_hmkd.widgets.viewing import slide_of

Layers = tuple[napari.layers.Image, napari.layers.Image]


@pytest.fixture
def layers(tmp_path: Path, paint_slide: Callable[..., Path]) -> Layers:
    paths = (
        paint_slide(tmp_path / "he.tif", [[0, 1], [2, 3]]),
        paint_slide(tmp_path / "ihc.tif", [[3, 1], [0, 2]]),
    )
    he, ihc = (napari.layers.Layer.create(*read_slides(path)[0]) for path in paths)
    return he, ihc


def tiles_of(layer: napari.layers.Image) -> TileGrid:
    slide = slide_of(layer)
    return TileGrid(slide.size, slide.mpp, 256, 4.0)


def affine(linear: npt.ArrayLike, moved_um: npt.ArrayLike) -> np.ndarray:
    return np.vstack([np.column_stack([linear, moved_um]), (0, 0, 1)])


@pytest.mark.parametrize("way", ["translate", "affine"])
def test_tiles_are_read_where_the_ihc_was_moved_to(layers: Layers, way: str) -> None:
    he, ihc = layers
    grid = tiles_of(he)
    both = (700, -300)
    he.translate = both
    moved = np.add(both, (1024, 0))  # a tile further down
    ihc.translate = moved
    if way == "affine":
        ihc.translate = (0, 0)
        ihc.affine = affine(np.eye(2), moved)
    read = ihc_reader(he, ihc, grid)
    np.testing.assert_array_equal(read((1, 1)), read_tile(slide_of(ihc), grid, (0, 1)))
    assert (read((0, 0)) == 255).all(), "beside the IHC it is white"
    assert read.placement == pytest.approx((1, 0, -1024, 0, 1, 0))


def test_what_was_read_once_is_read_from_where_it_lay_then(layers: Layers) -> None:
    he, ihc = layers
    read = ihc_reader(he, ihc, tiles_of(he))
    before = read((0, 0))
    ihc.translate = (500, 0)
    np.testing.assert_array_equal(read((0, 0)), before)
    assert read.placement != ihc_reader(he, ihc, tiles_of(he)).placement


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_an_ihc_that_was_scanned_turned_is_read_upright(
    tmp_path: Path, layers: Layers, quarters: int
) -> None:
    he, _ = layers
    upright = tifffile.imread(tmp_path / "ihc.tif")
    tifffile.imwrite(
        tmp_path / "turned.tif",
        np.rot90(upright, -quarters),
        photometric="rgb",
        tile=(256, 256),
        resolution=(2_500, 2_500),
        resolutionunit="CENTIMETER",
    )
    turned = napari.layers.Layer.create(*read_slides(tmp_path / "turned.tif")[0])
    back = np.linalg.matrix_power([[0, -1], [1, 0]], quarters)
    middle_um = np.array([255.5, 255.5]) * 4
    turned.affine = affine(back, middle_um - back @ middle_um)
    read = ihc_reader(he, turned, tiles_of(he))
    for row, column in tiles_of(he).tiles().tolist():
        shown = upright[256 * row : 256 * (row + 1), 256 * column : 256 * (column + 1)]
        np.testing.assert_array_equal(read((row, column)), shown)


@pytest.mark.parametrize(
    ("way", "says"), [("scale", "scales by"), ("mirror", "mirrors")], ids=["scaled", "mirrored"]
)
def test_an_ihc_that_lies_as_no_tissue_does_is_refused(layers: Layers, way: str, says: str) -> None:
    he, ihc = layers
    linear = {"scale": [[3, 0], [0, 3]], "mirror": [[1, 0], [0, -1]]}[way]
    ihc.affine = he.affine = affine(linear, (0, 0))
    ihc_reader(he, ihc, tiles_of(he))
    he.affine = np.eye(3)
    with pytest.raises(AlignmentError, match=says):
        ihc_reader(he, ihc, tiles_of(he))


def test_the_he_is_no_ihc_of_its_own(layers: Layers) -> None:
    he, _ = layers
    with pytest.raises(SlideError, match="choose the IHC's layer"):
        ihc_reader(he, he, tiles_of(he))
