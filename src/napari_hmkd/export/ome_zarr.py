"""`heatmap.ome.zarr`: the grades as OME-Zarr 0.5, which any viewer of it lays over the slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ome_zarr_models.v05.image_label import ImageLabelAttrs
from ome_zarr_models.v05.image_label_types import Label
from ome_zarr_models.v05.labels import LabelsAttrs

from napari_hmkd.export.ome_image import (
    VERSION,
    Channel,
    attributes,
    create_image,
    multiscale,
    write_level,
)
from napari_hmkd.export.provenance import provenance
from napari_hmkd.grading import SlideGrading
from napari_hmkd.heatmap import Heatmap
from napari_hmkd.model import ModelCard
from napari_hmkd.model.stages import GRADES
from napari_hmkd.palette import GRADE_COLOURS, colourise

_NOT_GRADED, _NOT_READABLE = 0, GRADES + 1  # labels; between them grade k is label k + 1
_NOT_READABLE_RGBA = (64, 64, 64, 255)
_LABELS = "grade"


def write_ome_zarr(grading: SlideGrading, folder: Path) -> None:
    """Write the heatmap as an image of six channels, and its grades as labels.

    One pixel is one square of the `TileGrid`, which is a tile unless tiles overlap. The image is
    float32 (6, rows, columns), NaN where not graded; its channels are "expected grade" in [0, 3], "p "
    and the name of each grade in [0, 1], and "entropy", `-sum p ln p / ln 4` in [0, 1] (Shannon 1948).
    The labels `labels/grade` are uint8 (rows, columns): 0 not graded, 1 to 4 the most probable grade 0
    to 3+, 5 not readable.

    Both are placed in um such that the middle of the slide's first pixel is at 0, as OME-Zarr places
    the slide. Both groups carry, as attribute "napari_hmkd", their `provenance`.

    Parameters
    ----------
    grading : SlideGrading
        Complete or stopped.
    folder : pathlib.Path
        The store; it must not be there yet.
    """
    plan, heatmap = grading.plan, grading.heatmap
    place = plan.grid.step_px, plan.grid.slide_mpp
    labels = ImageLabelAttrs.model_validate(
        {
            "version": VERSION,
            "multiscales": [multiscale(*place, "yx", _LABELS)],
            "image-label": _image_label(plan.card),
        }
    )
    source = provenance(grading)
    name = f"HER2 grade ({plan.slide.name})"
    root = create_image(folder, *place, name, _channels(plan.card), source)
    write_level(root, _planes(heatmap), "cyx", np.nan)
    listed = root.create_group(
        "labels", attributes=attributes(LabelsAttrs(version=VERSION, labels=[_LABELS]))
    )
    group = listed.create_group(_LABELS, attributes=attributes(labels, source))
    write_level(group, _labels(heatmap), "yx", _NOT_GRADED)


def _planes(heatmap: Heatmap) -> np.ndarray:
    """Expected grade, probabilities and entropy: float32 (6, rows, columns), NaN if not graded."""
    probabilities = np.moveaxis(heatmap.probabilities, -1, 0)
    return np.stack([heatmap.expected_grade, *probabilities, heatmap.entropy])


def _labels(heatmap: Heatmap) -> np.ndarray:
    """Labels of the grades, see `write_ome_zarr`: uint8 (rows, columns)."""
    labels = np.where(heatmap.graded, heatmap.grade + 1, _NOT_GRADED).astype(np.uint8)
    labels[heatmap.unreadable] = _NOT_READABLE
    return labels


def _channels(card: ModelCard) -> list[Channel]:
    """How viewers show the image."""
    channels = [("expected grade", GRADE_COLOURS[-1], (0.0, GRADES - 1.0))]
    grades = zip(card.class_names, GRADE_COLOURS, strict=True)
    channels += [(f"p {name}", colour, (0.0, 1.0)) for name, colour in grades]
    return [*channels, ("entropy", "#ffffff", (0.0, 1.0))]


def _image_label(card: ModelCard) -> Label:
    grades = np.rint(255 * colourise(np.arange(GRADES))).astype(int).tolist()
    colours = [(0, 0, 0, 0), *grades, _NOT_READABLE_RGBA]
    names = ["not graded", *card.class_names, "not readable"]
    return Label.model_validate(
        {
            "colors": [{"label-value": k, "rgba": rgba} for k, rgba in enumerate(colours)],
            "properties": [{"label-value": k, "class": name} for k, name in enumerate(names)],
            "source": {"image": "../../"},
        }
    )
