"""A slide whose pixels are longer one way is graded, placed and measured as one of square pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

from napari_hmkd.export.geojson import feature_collection
from napari_hmkd.export.picture import SIDE_PX, write_picture
from napari_hmkd.export.table import tile_table
from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.layers import heatmap_layers, tissue_layer
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.contents.fields import sample_fields

GRADES = [[0, 1, -1, 2], [3, -1, 2, 2]]

Twins = tuple[np.ndarray, SlideGrading, SlideGrading]


@pytest.fixture(params=[(2, 1), (1, 2)], ids=["flat pixels", "narrow pixels"])
def twins(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    paint_slide: Callable[..., Path],
    colour_model: OpenModel,
) -> Iterator[Twins]:
    """How many pixels (y, x) of the second slide stand for one of the first, and both graded."""
    times = np.array(request.param)
    square = paint_slide(tmp_path / "square.tif", GRADES)
    pixels = tifffile.imread(square).repeat(times[0], axis=0).repeat(times[1], axis=1)
    per_cm = (2_500 * times[::-1]).tolist()
    oblong = tmp_path / "oblong.tif"
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib"}
    tifffile.imwrite(oblong, pixels, resolution=per_cm, resolutionunit="CENTIMETER", **options)

    def graded(path: Path, px: np.ndarray, slides: ExitStack) -> SlideGrading:
        slide = slides.enter_context(open_slide(path))
        corners = np.array([(100, 30), (100, 700), (400, 900), (300, 30)]) * px
        tumour = MarkedRegion("tumour", shapely.Polygon(corners[:, ::-1]))
        settings = GradeSettings(device="cpu", stride=0.5)
        grading = start_grading(slide, colour_model, settings, regions=[tumour])
        list(grading.run())
        return grading

    with ExitStack() as slides:
        yield times, graded(square, np.array((1, 1)), slides), graded(oblong, times, slides)


def test_it_has_the_same_tiles_grades_and_areas(twins: Twins) -> None:
    times, square, oblong = twins
    assert oblong.plan.slide.mpp == pytest.approx(tuple(4.0 / times))
    expected, found = (tile_table(one).to_pydict() for one in (square, oblong))
    for name, px in (("y_px", times[0]), ("x_px", times[1])):
        assert found.pop(name) == pytest.approx(np.multiply(expected.pop(name), px))
    assert found.pop("notice") == expected.pop("notice")
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-4), name
    for number in (None, 0):  # the whole slide, and its region
        expected, found = (summed_up(one, number) for one in (square, oblong))
        assert found == pytest.approx(expected, rel=1e-3)


def summed_up(grading: SlideGrading, region: int | None) -> dict[str, float]:
    """Areas (mm2), the mean grade, and how many tiles."""
    part = None if region is None else grading.plan.regions[region].tissue_fraction
    said = grading.heatmap.summary(part)
    assert said.expected_grade is not None
    areas = {f"area of grade {grade}": area for grade, area in enumerate(said.area_mm2)}
    return areas | {"expected": said.expected_grade, "tiles": said.graded_tiles}


def test_its_annotations_lie_over_the_same_tissue(twins: Twins) -> None:
    times, square, oblong = twins
    expected, found = (feature_collection(one)["features"] for one in (square, oblong))
    for there, here in zip(found, expected, strict=True):
        placed = [shapely.geometry.shape(one["geometry"]) for one in (here, there)]
        stretched = shapely.transform(placed[0], lambda corners: corners * times[::-1])
        assert placed[1].normalize().equals_exact(stretched.normalize(), 1e-6)
        measured = [one["properties"]["measurements"] for one in (there, here)]
        assert measured[0] == pytest.approx(measured[1], rel=1e-3)


def test_its_maps_have_the_same_place_on_screen(twins: Twins) -> None:
    _, square, oblong = twins

    def corners_um(grading: SlideGrading) -> list[np.ndarray]:
        """Outer corners of each layer, from that of the slide."""
        slide, tissue = grading.plan.slide, grading.plan.tissue
        layers = [tissue_layer(slide, tissue), *heatmap_layers(grading)]
        found = []
        for data, look, _ in layers:
            scale = np.array(look["scale"])
            first = look["translate"] - scale / 2 + np.array(slide.mpp) / 2
            found.append(np.stack([first, first + data.shape[:2] * scale]))
        return found

    for found, expected in zip(corners_um(oblong), corners_um(square), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_region_has_the_same_shares_of_tiles_without_a_tissue_mask(twins: Twins) -> None:
    _, square, oblong = twins
    expected, found = (
        one.plan.marked[0].tissue_fraction(one.plan.grid, None) for one in (square, oblong)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_its_stain_is_judged_by_the_same_fields(twins: Twins) -> None:
    _, square, oblong = twins
    expected, found = (sample_fields(one.plan.slide, one.plan.tissue) for one in (square, oblong))
    assert len(expected) > 5
    for there, here in zip(found, expected, strict=True):
        np.testing.assert_array_equal(there.pixels, here.pixels)
        np.testing.assert_array_equal(there.tissue, here.tissue)


def test_its_picture_has_the_same_colours_over_the_same_tissue(
    twins: Twins, tmp_path: Path
) -> None:
    _, square, oblong = twins

    def seen(grading: SlideGrading) -> np.ndarray:
        """What lies of the picture over each square, stretched to 32 x 32 px: their mean colours."""
        write_picture(grading, tmp_path / "heatmap.png")
        height, width = grading.plan.slide.thumbnail(SIDE_PX).shape[:2]
        rows, columns = grading.plan.grid.rows, grading.plan.grid.columns
        with Image.open(tmp_path / "heatmap.png") as page:
            left = (page.width - width) // 2
            slide = page.convert("RGB").crop((left, 0, left + width, height))
        pixels = np.array(slide.resize((32 * columns, 32 * rows), Image.Resampling.BOX))
        return pixels.reshape(rows, 32, columns, 32, 3).mean(axis=(1, 3))

    expected, found = seen(square), seen(oblong)
    bar = np.s_[-1, :3]  # the scale bar is as thick on any slide
    expected[bar] = found[bar]
    np.testing.assert_allclose(found, expected, atol=6)
