"""Tiles of an H&E on an IHC that ends before it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_hmkd.alignment import align_by_matrix
from napari_hmkd.errors import SlideReadError
from napari_hmkd.inspection.pair import AlignedIhc, StainPair
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.tiling import TileGrid

TILE_PX, MPP = 256, 4.0
QUARTER_TURN = ((0, -1), (1, 0))


@pytest.fixture
def slides(tmp_path: Path, paint_slide: Callable[..., Path]) -> Iterator[tuple[Slide, Slide]]:
    """An H&E of 2 x 3 tiles and an IHC of 2 x 2."""
    files = (
        paint_slide(tmp_path / "he.tif", [[0, 1, 2], [2, 3, 0]]),
        paint_slide(tmp_path / "ihc.tif", [[3, 2], [0, 1]]),
    )
    with open_slide(files[0]) as he, open_slide(files[1]) as ihc:
        yield he, ihc


def laid(
    slides: tuple[Slide, Slide],
    shift_px: tuple[float, float],
    linear: npt.ArrayLike = ((1, 0), (0, 1)),
    tile_px: int = TILE_PX,
    overlap: int = 1,
) -> StainPair:
    he, ihc = slides
    grid = TileGrid(he.size, he.require_mpp(), tile_px, MPP, overlap)
    affine = np.column_stack([linear, np.multiply(shift_px, MPP)])
    return StainPair(he, grid, AlignedIhc(ihc, align_by_matrix(he, ihc, affine), refine=False))


@pytest.mark.parametrize(
    ("shift_px", "tile", "share"),
    [
        ((0, 0), (0, 2), "100%"),
        ((0, 128), (1, 1), "50%"),
        ((-26, 0), (0, 0), "10%"),
        ((-128, 128), (0, 1), "75%"),
    ],
)
def test_a_tile_that_lies_beyond_the_ihc_is_refused_with_how_much_of_it(
    slides: tuple[Slide, Slide], shift_px: tuple[float, float], tile: tuple[int, int], share: str
) -> None:
    with pytest.raises(SlideReadError, match=rf"he\.tif.* {share} .*beyond the IHC 'ihc\.tif'"):
        laid(slides, shift_px).read_ihc(tile)


@pytest.mark.parametrize("shift_px", [(0, 0), (-6, 0), (5, 5)])
def test_an_ihc_that_ends_a_few_pixels_before_the_he_is_read(
    slides: tuple[Slide, Slide], shift_px: tuple[float, float]
) -> None:
    pair = laid(slides, shift_px)
    for tile in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        assert pair.read_ihc(tile).pixels.shape == (TILE_PX, TILE_PX, 3)


def test_it_is_the_place_on_a_turned_ihc_that_counts(slides: tuple[Slide, Slide]) -> None:
    pair = laid(slides, (512, 0), QUARTER_TURN)
    assert (pair.read_ihc((0, 1)).pixels < 255).any()
    with pytest.raises(SlideReadError, match="beyond the IHC"):
        pair.read_ihc((0, 2))


def test_a_tile_that_ends_beyond_the_he_too_is_read(slides: tuple[Slide, Slide]) -> None:
    pair = laid(slides, (0, 0), tile_px=300)
    assert (pair.read_ihc((1, 0)).pixels[212:] == 255).all()
    with pytest.raises(SlideReadError, match="29%"):
        pair.read_ihc((0, 1))


@pytest.mark.parametrize(("corner", "share"), [(-1, None), (2, "2[3-7]%")])
def test_it_is_tissue_that_must_not_lie_beyond_the_ihc(
    corner: int, share: str | None, tmp_path: Path, paint_slide: Callable[..., Path]
) -> None:
    files = (
        paint_slide(tmp_path / "he.tif", [[0, -1], [1, corner]]),
        paint_slide(tmp_path / "ihc.tif", [[3], [2]]),
    )
    with open_slide(files[0]) as he, open_slide(files[1]) as ihc:
        pair = laid((he, ihc), (0, 0), tile_px=2 * TILE_PX)
        if share is None:
            assert (pair.read_ihc((0, 0)).pixels[:, TILE_PX + 1 :] == 255).all()
            return
        with pytest.raises(SlideReadError, match=f"tissue on {share} of it lies beyond"):
            pair.read_ihc((0, 0))


@pytest.mark.parametrize(("end_px", "read"), [(108, True), (90, False)])
def test_glass_at_the_edge_of_a_small_tile_is_no_hole_in_its_tissue(
    end_px: int, read: bool, tmp_path: Path, paint_slide: Callable[..., Path]
) -> None:
    picture = tifffile.imread(paint_slide(tmp_path / "whole.tif", [[0, 1]]))
    picture[:, 100:] = 243
    size = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}
    for name, cut in {"he.tif": picture, "ihc.tif": picture[:, :end_px]}.items():
        tifffile.imwrite(tmp_path / name, cut, photometric="rgb", tile=(64, 64), **size)
    with open_slide(tmp_path / "he.tif") as he, open_slide(tmp_path / "ihc.tif") as ihc:
        pair = laid((he, ihc), (0, 0), tile_px=118)
        if read:
            assert pair.read_ihc((0, 0)).pixels.shape == (118, 118, 3)
            return
        with pytest.raises(SlideReadError, match="beyond the IHC"):
            pair.read_ihc((0, 0))


def test_of_tiles_that_overlap_the_whole_counts(slides: tuple[Slide, Slide]) -> None:
    with pytest.raises(SlideReadError, match="50%"):
        laid(slides, (0, 0), overlap=2).read_ihc((0, 3))


def test_where_the_tissue_of_a_tile_was_found_counts(
    slides: tuple[Slide, Slide], tmp_path: Path
) -> None:
    he, _ = slides
    cut_px = 10
    below = tifffile.imread(tmp_path / "he.tif")[cut_px:]
    size = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "cut.tif", below, photometric="rgb", tile=(256, 256), **size)
    with open_slide(tmp_path / "cut.tif") as cut:
        pair = laid((he, cut), (0, 0), tile_px=128)
        assert pair.read_ihc((0, 0)).moved_um == (0, 0)
        moved = replace(pair, ihc=replace(pair.ihc, refine=True))
        assert moved.read_ihc((1, 0)).moved_um == pytest.approx((-cut_px * MPP, 0), abs=1)
        with pytest.raises(SlideReadError, match=r"8% .*beyond the IHC 'cut\.tif'"):
            moved.read_ihc((0, 0))
