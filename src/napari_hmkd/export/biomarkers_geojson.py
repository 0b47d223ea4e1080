"""`patches.geojson` of biomarkers, for QuPath: the patches with their attention, and the tissue that was judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.export.polygons import merge_tiles
from napari_hmkd.export.provenance import KEY
from napari_hmkd.export.qupath import GREY, NOT_READABLE, from_origin, qupath_object
from napari_hmkd.geometry import Origin
from napari_hmkd.wording import NO_GRADE, RESEARCH_ONLY

_JUDGED, _PATCH = "Biomarkers, judged", "Biomarkers, patch"
_JUDGED_COLOUR, _PATCH_COLOUR = "#440154", "#21918c"  # of viridis, as attention is drawn


def patch_collection(
    run: SlideBiomarkers, about: Mapping[str, Any], origin: Origin = "slide"
) -> dict[str, Any]:
    """The patches of a slide whose biomarkers were predicted, as a GeoJSON FeatureCollection.

    - Patches that share a side are one annotation, "Biomarkers, judged". Its measurements are the
      slide's: "Probability TARGET CLASS (slide)", in [0, 1]. Its description says what each status
      means, what it is not, and which network answered.
    - Tiles that could not be read or encoded and share a side are one annotation, "not readable".
    - Each patch is a detection, row by row, which QuPath colours by "Show measurement maps":
      "Attention TARGET (1 = even share)" is its attention times the number of patches.

    All are locked, and clipped to the slide.

    Parameters
    ----------
    run : SlideBiomarkers
        Run to its end.
    about : mapping
        The collection's member "napari_hmkd", plain values for JSON. QuPath drops it.
    origin : {"slide", "file"}
        Where (x, y), in level-0 px, count from; see `from_origin`.
    """
    return {
        "type": "FeatureCollection",
        KEY: dict(about) | {"origin": origin},
        "features": [*_annotations(run, origin), *_detections(run, origin)],
    }


def _annotations(run: SlideBiomarkers, origin: Origin) -> list[dict[str, Any]]:
    judged = run.extraction.encoded_tiles()
    failed = np.array(sorted(run.extraction.failed), dtype=np.int64).reshape(-1, 2)
    kinds: list[tuple[np.ndarray, str, str, dict[str, float], str]] = [
        (judged, _JUDGED, _JUDGED_COLOUR, _probabilities(run), _meaning(run)),
        (failed, NOT_READABLE, GREY, {}, ""),
    ]
    return [
        qupath_object("annotation", polygon, f"{name}, part {part}", name, colour, measured, said)
        for tiles, name, colour, measured, said in kinds
        for part, polygon in enumerate(_polygons(run, tiles, 0, origin), start=1)
    ]


def _detections(run: SlideBiomarkers, origin: Origin) -> list[dict[str, Any]]:
    tiles = run.extraction.encoded_tiles()
    names = [f"Attention {one.target.name} (1 = even share)" for one in run.predictions]
    weights = np.stack([one.relative_attention for one in run.predictions], axis=1).tolist()
    polygons = _polygons(run, tiles, np.arange(len(tiles)), origin)
    return [
        qupath_object(
            "detection",
            polygon,
            f"row {row}, column {column}",
            _PATCH,
            _PATCH_COLOUR,
            dict(zip(names, attention, strict=True)),
        )
        for polygon, (row, column), attention in zip(polygons, tiles.tolist(), weights, strict=True)
    ]


def _polygons(
    run: SlideBiomarkers, tiles: np.ndarray, labels: np.ndarray | int, origin: Origin
) -> np.ndarray:
    """Tiles (n, 2) merged by their labels, (n,) or one of all: polygons in the order of the labels."""
    plan = run.extraction.plan
    labelled = np.full((plan.grid.rows, plan.grid.columns), -1)
    labelled[tuple(tiles.T)] = labels
    polygons = shapely.get_parts(list(merge_tiles(labelled, plan.grid).values()))
    return from_origin(polygons, plan.slide, origin)


def _probabilities(run: SlideBiomarkers) -> dict[str, float]:
    return {
        f"Probability {one.target.name} {name} (slide)": p
        for one in run.predictions
        for name, p in zip(one.target.classes, one.probabilities.tolist(), strict=True)
    }


def _meaning(run: SlideBiomarkers) -> str:
    definitions = (f"{one.target.name}: {one.target.definition}" for one in run.predictions)
    return "; ".join(
        filter(None, (*definitions, run.answered_by, NO_GRADE, RESEARCH_ONLY, run.notice))
    )
