"""The IHC of an H&E tile, where the layers lie over each other."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

pytest.importorskip("napari", reason="needs the napari extra")

import napari.layers

from napari_hmkd.alignment import align_by_matrix, save_alignment
from napari_hmkd.attention_report import AttentionRequest, plan_report
from napari_hmkd.errors import AlignmentError, SlideError
from napari_hmkd.inspection.pair import StainPair
from napari_hmkd.planning import read_tile
from napari_hmkd.reader import read_slides
from napari_hmkd.tiling import TileGrid
from napari_hmkd.widgets.aligned_layers import LayerPair, he_to_ihc
from napari_hmkd.widgets.attention_form import AttentionForm
from napari_hmkd.widgets.attention_subject import subject_of
from napari_hmkd.widgets.ihc_reading import aligned_ihc
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


def reader(he: napari.layers.Image, ihc: napari.layers.Image) -> Callable[..., np.ndarray]:
    """Reads tiles of the IHC as it lies now."""
    pair = StainPair(slide_of(he), tiles_of(he), aligned_ihc(he, ihc, refine=False))
    return lambda tile: pair.read_ihc(tile).pixels


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
    read = reader(he, ihc)
    np.testing.assert_array_equal(read((1, 1)), read_tile(slide_of(ihc), grid, (0, 1)))
    with pytest.raises(SlideError, match=r"100% of it lies beyond the IHC 'ihc\.tif'"):
        read((0, 0))
    matrix = aligned_ihc(he, ihc, refine=False).alignment.affine
    np.testing.assert_allclose(matrix, affine(np.eye(2), (-1024, 0)), atol=1e-9)


def test_what_was_read_once_is_read_from_where_it_lay_then(layers: Layers) -> None:
    he, ihc = layers
    read = reader(he, ihc)
    before = read((0, 0))
    ihc.translate = (-500, 0)
    np.testing.assert_array_equal(read((0, 0)), before)
    assert (reader(he, ihc)((0, 0)) != before).any()


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
    read = reader(he, turned)
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
    aligned_ihc(he, ihc, refine=True)
    he.affine = np.eye(3)
    with pytest.raises(AlignmentError, match=says):
        aligned_ihc(he, ihc, refine=True)


def test_the_he_is_no_ihc_of_its_own(layers: Layers) -> None:
    he, _ = layers
    with pytest.raises(SlideError, match="choose the IHC's layer"):
        aligned_ihc(he, he, refine=True)


@pytest.mark.parametrize("refine", [True, False])
def test_the_panel_and_the_command_line_read_the_same_pixels(
    layers: Layers, tmp_path: Path, student_file: Path, teacher_file: Path, refine: bool
) -> None:
    he, ihc = layers
    turn = np.deg2rad(0.2)
    ihc.affine = affine([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], (20, -30))
    slides = slide_of(he), slide_of(ihc)
    save_alignment(tmp_path / "a.json", align_by_matrix(*slides, he_to_ihc(LayerPair(he, ihc))))
    in_panel = subject_of(he, ihc, str(student_file), str(teacher_file), refine).pair
    request = AttentionRequest(
        slides[0], str(student_file), slides[1], str(teacher_file), tmp_path / "a.json", refine
    )
    headless = plan_report(request).pair
    for tile in [(0, 0), (1, 1)]:
        one, other = in_panel.read_ihc(tile), headless.read_ihc(tile)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.moved_um == pytest.approx(other.moved_um)
        assert (np.hypot(*one.moved_um) > 1) == refine, "the mottle of both lies about 36 um apart"


def test_tiles_are_moved_unless_the_user_wants_otherwise_in_the_panel_and_headless(viewer) -> None:
    assert AttentionForm(viewer).refine.value
    assert signature(AttentionRequest).parameters["refine"].default
