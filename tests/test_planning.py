"""What is decided before a tile is read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from tests.slide_files import TISSUE

from napari_hmkd import planning
from napari_hmkd.errors import PixelSizeError, SlideError, UnsuitableSlideError
from napari_hmkd.grading import OpenModel
from napari_hmkd.planning import GradeSettings, opened_as_stated, plan_grading, read_tile
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.slide import StainCheck, StainKind, find_tissue, open_slide

PaintSlide = Callable[..., Path]
GRADES = [[-1, 0, 1], [3, -1, 2]]


@pytest.fixture
def brown_slide(tmp_path: Path) -> Path:
    """A square of 256 px at 4 um/px of tissue stained with DAB, and one of glass."""
    pixels = np.full((256, 512, 3), 243, dtype=np.uint8)
    mottle = np.random.default_rng(0).integers(-12, 13, (256, 256, 1))
    pixels[:, :256] = np.array((170, 120, 70)) + mottle
    path = tmp_path / "brown.tif"
    resolution = {"resolution": (2_500, 2_500), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), **resolution)
    return path


def test_the_tiles_are_those_with_tissue(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        plan = plan_grading(slide, colour_model.card)
    assert plan.tiles.tolist() == [[0, 1], [0, 2], [1, 0], [1, 2]]
    assert plan.tissue_fraction == pytest.approx(1.0 * (np.array(GRADES) >= 0), abs=0.1)
    assert (plan.enlargement, plan.warnings) == (1.0, ())


def test_the_share_of_tissue_wanted_is_a_setting(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    card = replace(colour_model.card, tile_px=512)  # one tile, two thirds of it over the edge
    with open_slide(paint_slide(tmp_path / "slide.tif", [[0, -1], [-1, -1]])) as slide:
        assert len(plan_grading(slide, card, GradeSettings(min_tissue_fraction=0.2)).tiles) == 1
        with pytest.raises(SlideError, match="30%"):
            plan_grading(slide, card, GradeSettings(min_tissue_fraction=0.3))


@pytest.mark.parametrize(
    ("tile", "upper", "lower"),  # squares of the tile's upper left and lower right quarter
    [((0, 0), 0, 3), ((0, 1), 2, 1), ((1, 0), 3, 0)],
)
def test_a_tile_is_read_at_the_model_s_pixel_size(
    tmp_path: Path,
    paint_slide: PaintSlide,
    colour_model: OpenModel,
    tile: tuple[int, int],
    upper: int,
    lower: int,
) -> None:
    grades = [[0, 1, 2, 0], [2, 3, 3, 1], [3, 1, 0, 0], [2, 0, 1, 2], [0, 0, 0, 0]]
    path = paint_slide(tmp_path / "slide.tif", grades)
    with open_slide(path, mpp=2.0) as slide:  # four squares make one tile at 4 um/px
        plan = plan_grading(slide, colour_model.card)
        pixels = read_tile(slide, plan.grid, tile)
    assert pixels.shape == (256, 256, 3)
    for quarter, grade in ((pixels[:128, :128], upper), (pixels[128:, 128:], lower)):
        assert quarter.mean(axis=(0, 1)) == pytest.approx(TISSUE[grade], abs=1)


@pytest.mark.parametrize(("mpp", "warned"), [(4.0, False), (4.76, False), (5.2, True), (8.0, True)])
def test_enlarging_much_is_warned_of(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel, mpp: float, warned: bool
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES), mpp=mpp) as slide:
        plan = plan_grading(slide, colour_model.card)
    assert plan.enlargement == pytest.approx(mpp / 4)
    assert [f"{mpp / 4:.2f} times" in warning for warning in plan.warnings] == [True] * warned


def test_enlarging_more_than_twice_is_refused(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    with (
        open_slide(paint_slide(tmp_path / "slide.tif", GRADES), mpp=8.1) as slide,
        pytest.raises(PixelSizeError),
    ):
        plan_grading(slide, colour_model.card)


def test_a_slide_without_pixel_size_is_refused_until_it_is_stated(
    shared_data: Path, colour_model: OpenModel
) -> None:
    path = str(shared_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs")
    with (
        opened_as_stated(path, None, None) as (slide, _),
        pytest.raises(PixelSizeError, match="--mpp"),
    ):
        plan_grading(slide, colour_model.card, GradeSettings(force=True))
    with opened_as_stated(path, None, 0.5) as (slide, notes):
        stated = plan_grading(slide, colour_model.card)
    assert (stated.grid.slide_mpp, notes) == ((0.5, 0.5), [])


def test_fluorescence_is_refused_unless_forced(shared_data: Path, colour_model: OpenModel) -> None:
    with open_slide(shared_data / "slides" / "fluorescence.ndpi") as slide:
        with pytest.raises(UnsuitableSlideError, match=r"fluorescence\.ndpi.* --force"):
            plan_grading(slide, colour_model.card)
        plan = plan_grading(slide, colour_model.card, GradeSettings(force=True))
    assert (plan.stain.kind, plan.tissue) == (StainKind.FLUORESCENCE, None)
    assert len(plan.tiles) == plan.grid.rows * plan.grid.columns
    assert "brightfield" in plan.warnings[-1]
    assert "every tile" in plan.warnings[-1]


def test_a_blank_slide_is_refused_unless_forced(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "blank.tif", [[-1, -1]])) as slide:
        with pytest.raises(UnsuitableSlideError, match=r"blank\.tif.* blank glass"):
            plan_grading(slide, colour_model.card)
        plan = plan_grading(slide, colour_model.card, GradeSettings(force=True))
    assert (plan.stain.kind, len(plan.tiles)) == (StainKind.BLANK, 2)


def test_without_a_tissue_mask_every_tile_is_graded_however_little_of_it_lies_on_the_slide(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    path, forced = paint_slide(tmp_path / "blank.tif", [[-1, -1]]), GradeSettings(force=True)
    with open_slide(path, mpp=4.0 * 1.02) as slide:
        plan = plan_grading(slide, colour_model.card, forced)
    assert plan.tiles.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert plan.tissue_fraction == pytest.approx(np.outer((1, 0.02), (1, 1, 0.04)), abs=1e-5)


def test_ihc_by_force_is_graded_where_its_tissue_is(
    brown_slide: Path, colour_model: OpenModel
) -> None:
    with open_slide(brown_slide) as slide:
        with pytest.raises(UnsuitableSlideError, match=r"IHC .* are brown"):
            plan_grading(slide, colour_model.card)
        plan = plan_grading(slide, colour_model.card, GradeSettings(force=True))
    assert plan.tiles.tolist() == [[0, 0]]
    assert "IHC" in plan.warnings[-1]
    assert "every tile" not in plan.warnings[-1]


def test_painted_tissue_is_obeyed(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        painted = find_tissue(slide)
        painted.mask[:, painted.mask.shape[1] * 2 // 3 :] = False
        plan = plan_grading(slide, colour_model.card, tissue=painted)
        assert plan.tissue is painted
        assert plan.tiles.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("force", [False, True])
def test_an_emptied_tissue_layer_is_refused_and_not_asked_about(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel, force: bool
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        found = find_tissue(slide)
        erased = replace(found, mask=np.zeros_like(found.mask))
        with pytest.raises(SlideError, match=r"no tissue is painted.*Find tissue") as refusal:
            plan_grading(slide, colour_model.card, GradeSettings(force=force), erased)
    assert not isinstance(refusal.value, UnsuitableSlideError)


@pytest.mark.parametrize(
    ("check", "warnings"),
    [
        (
            StainCheck(StainKind.H_AND_E, "H&E", ("half of it is blurred",)),
            ("half of it is blurred",),
        ),
        (
            StainCheck(StainKind.UNKNOWN, "a stain too faint to be told"),
            ("the slide has a stain too faint to be told: make sure that it is H&E",),
        ),
    ],
    ids=["blurred", "unknown"],
)
def test_what_the_stain_check_doubts_is_a_warning_of_the_plan(
    tmp_path: Path,
    paint_slide: PaintSlide,
    colour_model: OpenModel,
    monkeypatch,
    check: StainCheck,
    warnings: tuple[str, ...],
) -> None:
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES)) as slide:
        tissue = find_tissue(slide)
        monkeypatch.setattr(planning, "examined", lambda _: (check, tissue))
        assert plan_grading(slide, colour_model.card).warnings == warnings


def test_too_little_tissue_in_every_tile_is_an_error(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    card = replace(colour_model.card, tile_px=1024)
    with (
        open_slide(paint_slide(tmp_path / "slide.tif", [[0, -1], [-1, -1]])) as slide,
        pytest.raises(SlideError, match=r"slide\.tif.* its only tile is not"),
    ):
        plan_grading(slide, card)


@pytest.mark.parametrize(
    ("least", "advice"), [(0.1, "move the region onto tissue"), (1.0, "paint its tissue")]
)
def test_where_no_tile_is_in_a_region_the_advice_depends_on_whether_there_is_any_outside(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel, least: float, advice: str
) -> None:
    settings = GradeSettings(min_tissue_fraction=least, only_regions=True)
    glass = MarkedRegion("beside", shapely.box(20, 20, 200, 200))
    refusal = f"none of its 12 tiles .* in a marked region; .*{advice}"
    with open_slide(paint_slide(tmp_path / "slide.tif", GRADES), mpp=4.0 * 1.02) as slide:
        tissue = find_tissue(slide)
        tissue.mask[::7] = False  # no tile is all tissue
        with pytest.raises(SlideError, match=refusal):
            plan_grading(slide, colour_model.card, settings, tissue, [glass])


def test_a_slide_that_fills_too_little_of_a_tile_is_said_to_be_too_small(
    tmp_path: Path, paint_slide: PaintSlide, colour_model: OpenModel
) -> None:
    card = replace(colour_model.card, tile_px=1280)
    with (
        open_slide(paint_slide(tmp_path / "slide.tif", [[2, 2]])) as slide,
        pytest.raises(SlideError, match=r"1024 x 2048 um fill 8\.0% of a tile.* larger scan"),
    ):
        plan_grading(slide, card)


def test_on_real_tissue_the_tiles_are_where_the_spots_with_rna_are(
    shared_data: Path, colour_model: OpenModel
) -> None:
    with (shared_data / "her2st" / "spots.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["section"] == "C2"]
    spots = np.array([[float(row["pixel_y"]), float(row["pixel_x"])] for row in rows])
    card = replace(colour_model.card, mpp=0.92, tile_px=512)
    with open_slide(shared_data / "slides" / "her2st_C2.ome.tif") as slide:
        plan = plan_grading(slide, card)
    tiles = set(map(tuple, plan.tiles.tolist()))
    assert np.mean([plan.grid.tile_at(*spot) in tiles for spot in spots.tolist()]) >= 0.95
    away_um = 0.69 * np.linalg.norm(plan.grid.centers(plan.tiles)[:, None] - spots, axis=2)
    assert (away_um.min(axis=1) > 400).mean() <= 0.1


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"min_tissue_fraction": 0.0}])
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        GradeSettings(**wrong)  # type: ignore[arg-type]
