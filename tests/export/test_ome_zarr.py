"""The heatmap as OME-Zarr: valid, in its place, and taken for no slide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.multiscales import Multiscale

from napari_hmkd.errors import SlideError
from napari_hmkd.export.ome_zarr import write_ome_zarr
from napari_hmkd.grading import SlideGrading
from napari_hmkd.layers import heatmap_layers
from napari_hmkd.palette import GRADE_COLOURS
from napari_hmkd.reader import get_reader
from napari_hmkd.slide import open_slide

GRADES = [[0, 1, -1], [3, 2, 3]]
DAMAGED = (1, 0)


@pytest.fixture
def grading(grade_painted: Callable[..., SlideGrading]) -> SlideGrading:
    return grade_painted(GRADES, [DAMAGED])


def written(grading: SlideGrading, folder: Path) -> zarr.Group:
    write_ome_zarr(grading, folder / "heatmap.ome.zarr")
    return zarr.open_group(folder / "heatmap.ome.zarr", mode="r", zarr_format=3)


def multiscales(root: zarr.Group) -> list[Multiscale]:
    """Of the image and of its labels."""
    models = Image.from_zarr(root), ImageLabel.from_zarr(root["labels/grade"])
    return [model.ome_attributes.multiscales[0] for model in models]


def placed(multiscale: Multiscale) -> tuple[list[float], list[float]]:
    """Scale and translation (y, x) of the one level."""
    (level,) = multiscale.datasets
    scale, translation = level.coordinateTransformations
    assert scale.scale[:-2] == [1.0] * (len(multiscale.axes) - 2)
    assert translation.translation[:-2] == [0.0] * (len(multiscale.axes) - 2)
    return scale.scale[-2:], translation.translation[-2:]


def test_the_store_is_ome_zarr_0_5_with_an_image_and_labels(
    tmp_path: Path, grading: SlideGrading
) -> None:
    image = Image.from_zarr(written(grading, tmp_path))
    assert image.ome_zarr_version == "0.5"
    axes = [(a.name, a.type, a.unit) for a in image.ome_attributes.multiscales[0].axes]
    in_um = [(name, "space", "micrometer") for name in "yx"]
    assert axes == [("c", "channel", None), *in_um]
    assert image.ome_attributes.multiscales[0].name == "HER2 grade (Gewebe ü.tif)"
    assert image.labels is not None
    assert image.labels.label_paths == ["grade"]
    labels = image.labels.get_image_labels_group("grade").ome_attributes
    assert [(a.name, a.type, a.unit) for a in labels.multiscales[0].axes] == in_um


def test_the_channels_are_grade_probabilities_and_entropy(
    tmp_path: Path, grading: SlideGrading
) -> None:
    heatmap = grading.heatmap
    heatmap.probabilities[0, 0] = 0.25
    heatmap.probabilities[0, 1] = 0, 0, 1, 0
    heatmap.probabilities[1, 1] = 0.5, 0, 0, 0.5
    image = written(grading, tmp_path)["0"][:]
    assert image.dtype == np.float32
    assert image.shape == (6, 2, 3)
    np.testing.assert_array_equal(image[0], heatmap.expected_grade)
    np.testing.assert_array_equal(image[1:5], np.moveaxis(heatmap.probabilities, -1, 0))
    assert image[5, [0, 0, 1], [0, 1, 1]] == pytest.approx([1.0, 0.0, 0.5])
    without = np.zeros((2, 3), bool)
    without[[0, DAMAGED[0]], [2, DAMAGED[1]]] = True  # glass, and what could not be read
    assert (np.isnan(image) == without).all()


def test_the_channels_are_named_and_shown_over_their_whole_range(
    tmp_path: Path, grading: SlideGrading
) -> None:
    channels = written(grading, tmp_path).attrs["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in channels] == [
        "expected grade",
        "p 0",
        "p 1+",
        "p 2+",
        "p 3+",
        "entropy",
    ]
    assert [channel["window"]["end"] for channel in channels] == [3, 1, 1, 1, 1, 1]
    assert {channel["window"]["start"] for channel in channels} == {0}
    colours = [f"#{channel['color'].lower()}" for channel in channels]
    assert colours[1:5] == list(GRADE_COLOURS)
    assert [channel["active"] for channel in channels] == [True] + [False] * 5


def test_pixels_lie_in_the_middle_of_their_tiles(tmp_path: Path, grading: SlideGrading) -> None:
    # Sides that differ, and no whole number of level-0 px per tile.
    grid = replace(grading.plan.grid, slide_mpp=(2.5, 3.7))
    stretched = replace(grading, plan=replace(grading.plan, grid=grid))
    tiles = grid.tiles()
    middles_um = grid.centers(tiles) * grid.slide_mpp - 0.5 * np.array(grid.slide_mpp)
    for multiscale in multiscales(written(stretched, tmp_path)):
        scale, translation = placed(multiscale)
        np.testing.assert_allclose(tiles * scale + np.array(translation), middles_um, rtol=1e-12)


def test_it_lies_where_the_heatmap_lies_on_screen(tmp_path: Path, grading: SlideGrading) -> None:
    (_, kwargs, _), *_ = heatmap_layers(grading)
    for multiscale in multiscales(written(grading, tmp_path)):
        scale, translation = placed(multiscale)
        assert scale == pytest.approx(kwargs["scale"], rel=1e-12)
        assert translation == pytest.approx(kwargs["translate"], rel=1e-12)


def test_the_labels_are_grades_in_the_palette_s_colours(
    tmp_path: Path, grading: SlideGrading
) -> None:
    group = written(grading, tmp_path)["labels/grade"]
    labels = group["0"][:]
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[1, 2, 0], [5, 3, 4]]
    said = ImageLabel.from_zarr(group).ome_attributes.image_label
    classes = {p.label_value: p.model_extra["class"] for p in said.properties}
    assert classes == dict(enumerate(["not graded", "0", "1+", "2+", "3+", "not readable"]))
    colours = {c.label_value: c.rgba for c in said.colors}
    shown = ["#{:02x}{:02x}{:02x}".format(*colours[k][:3]) for k in range(1, 5)]
    assert shown == list(GRADE_COLOURS)
    assert [colours[k][3] for k in range(6)] == [0, 255, 255, 255, 255, 255]
    assert said.source.image == "../../"


def test_of_a_grading_that_was_stopped_the_rest_is_not_graded(
    tmp_path: Path, grading: SlideGrading
) -> None:
    grading.heatmap.probabilities[1] = np.nan
    root = written(grading, tmp_path)
    assert np.isnan(root["0"][:, 1]).all()
    assert root["labels/grade/0"][:].tolist() == [[1, 2, 0], [5, 0, 0]]


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (".", r"shape \(6, 2, 3\), its pixels float32"),
        ("labels/grade", r"shape \(2, 3\), its pixels uint8"),
        ("labels", "without an OME-Zarr image"),
    ],
)
def test_it_is_refused_as_a_slide_and_left_to_other_readers(
    tmp_path: Path, grading: SlideGrading, part: str, problem: str
) -> None:
    written(grading, tmp_path)
    path = tmp_path / "heatmap.ome.zarr" / part
    with pytest.raises(SlideError, match=problem):
        open_slide(path)
    assert get_reader(str(path)) is None
