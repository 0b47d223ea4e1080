"""The grades as annotations for QuPath: GeoJSON, one feature per patch of equally graded tiles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from skimage.measure import label

from napari_hmkd.export.polygons import merge_tiles
from napari_hmkd.export.provenance import KEY, provenance
from napari_hmkd.export.qupath import (
    GREY,
    NOT_READABLE,
    from_origin,
    qupath_object,
    write_collection,
)
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import SlideGrading
from napari_hmkd.heatmap import NOT_GRADED
from napari_hmkd.model import ModelCard
from napari_hmkd.palette import GRADE_COLOURS
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY

_FAILED = len(GRADE_COLOURS)  # stands beside the grades


def write_geojson(grading: SlideGrading, path: Path, origin: Origin = "slide") -> None:
    """Write `feature_collection` as JSON."""
    write_collection(feature_collection(grading, origin), path)


def feature_collection(grading: SlideGrading, origin: Origin = "slide") -> dict[str, Any]:
    """The graded and the unreadable tiles so far, as a GeoJSON FeatureCollection.

    Where tiles overlap, "tile" stands here for the square between their corners, which has the mean of
    their probabilities, and the measurements are called "Squares" and "Undecided squares". Tiles of the
    same most probable grade that share a side are one polygon, a locked annotation of QuPath, in the order
    of their first tiles, row by row. Its measurements:

    - "Area mm^2": of the polygon, the part of its tiles that lies on the slide.
    - "Tissue mm^2": tile area times tissue fraction, summed; as `Heatmap.summary` counts.
    - "Tiles": how many.
    - "Share of graded tissue": of "Tissue mm^2", in all graded tiles of the slide; 0 to 1.
    - "Expected grade (mean)", 0 to 3, and "Probability ... (mean)" of each grade: over the tiles.
    - "Undecided tiles": whose conformal prediction set, the grades k with p_k at least the model
      card's threshold for k, does not hold exactly one grade; where the card has thresholds.

    Unreadable tiles have the first three only. The collection's member "napari_hmkd" is `provenance`
    and the "origin". QuPath drops it: what the grades mean, and the model's notice, therefore also
    stand in each annotation's description, which QuPath shows from 0.5 on.

    Parameters
    ----------
    grading : SlideGrading
        Finished or not.
    origin : {"slide", "file"}
        Where (x, y), in level-0 px, count from; see `from_origin`.
    """
    plan, classes = grading.plan, _classes(grading)
    patches = label(classes, background=NOT_GRADED, connectivity=1) - 1
    polygons = shapely.get_parts(list(merge_tiles(patches, plan.grid).values()))
    found, first = np.unique(patches, return_index=True)
    kinds = classes.ravel()[first[found >= 0]].tolist()
    placed = from_origin(polygons, plan.slide, origin)
    measured = _measurements(grading, patches, kinds, polygons)
    numbers = range(1, len(kinds) + 1)
    return {
        "type": "FeatureCollection",
        KEY: provenance(grading) | {"origin": origin},
        "features": [
            _feature(plan.card, *patch)
            for patch in zip(numbers, kinds, placed, measured, strict=True)
        ],
    }


def _classes(grading: SlideGrading) -> np.ndarray:
    """The grade of each square, `_FAILED`, or `NOT_GRADED`: int8 (rows, columns)."""
    classes = grading.heatmap.grade
    classes[grading.heatmap.unreadable] = _FAILED
    return classes


def _measurements(
    grading: SlideGrading, patches: np.ndarray, kinds: list[int], polygons: np.ndarray
) -> list[dict[str, float]]:
    """What is said about each patch, by name."""
    plan, heatmap = grading.plan, grading.heatmap
    inside = patches >= 0
    unit = "Tiles" if plan.grid.overlap == 1 else "Squares"

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(patches[inside], values[inside], minlength=len(kinds))

    tiles = total(np.ones(patches.shape))
    tissue_mm2 = total(plan.grid.area_mm2(plan.tissue_fraction))
    graded_mm2 = tissue_mm2[np.array(kinds, dtype=int) != _FAILED].sum()
    of_all = {
        "Area mm^2": shapely.area(polygons) * math.prod(plan.grid.slide_mpp) / 1e6,
        "Tissue mm^2": tissue_mm2,
        unit: tiles,
    }
    of_graded = {
        "Share of graded tissue": tissue_mm2 / (graded_mm2 or 1.0),
        "Expected grade (mean)": total(heatmap.expected_grade) / tiles,
    }
    for grade, name in enumerate(plan.card.class_names):
        mean = total(heatmap.probabilities[..., grade]) / tiles
        of_graded[f"Probability {name} (mean)"] = mean
    if heatmap.undecided is not None:
        of_graded[f"Undecided {unit.lower()}"] = total(heatmap.undecided)
    return [
        {
            name: float(values[number])
            for name, values in (of_all if kind == _FAILED else of_all | of_graded).items()
        }
        for number, kind in enumerate(kinds)
    ]


def _feature(
    card: ModelCard, number: int, kind: int, polygon: shapely.Polygon, measured: dict[str, float]
) -> dict[str, Any]:
    # Never "1+" alone: that is QuPath's own class of cells, of which it makes H-scores.
    name = NOT_READABLE if kind == _FAILED else f"HER2 {card.class_names[kind]}"
    meaning = "; ".join(filter(None, (NO_SCORE, RESEARCH_ONLY, card.notice)))
    colour = (*GRADE_COLOURS, GREY)[kind]
    return qupath_object(
        "annotation", polygon, f"{name}, patch {number}", name, colour, measured, meaning
    )
