"""Objects of QuPath as GeoJSON.

The members are those that QuPath 0.4.0 and later write and read (its manual, "Exporting
annotations", and `QuPathTypeAdapters.java` of its sources). Coordinates are pixels instead of
degrees, as they are there: the "prior arrangement" of RFC 7946, section 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import shapely
from PIL import ImageColor

from napari_hmkd.geometry import Origin
from napari_hmkd.slide import Slide

NOT_READABLE = "not readable"
"""Class of tiles that could not be read."""
GREY = "#808080"


def qupath_object(
    kind: Literal["annotation", "detection"],
    polygon: shapely.Polygon,
    name: str,
    class_name: str,
    colour: str,
    measurements: Mapping[str, float],
    description: str = "",
) -> dict[str, Any]:
    """One locked object as a GeoJSON Feature.

    Parameters
    ----------
    kind : {"annotation", "detection"}
        QuPath lists annotations, and colours detections by a measurement ("Show measurement maps").
    polygon : shapely.Polygon
        (x, y) in level-0 px.
    name, class_name : str
        The object's, and its class's, where a colon would nest classes.
    colour : str
        Of the class, "#rrggbb".
    measurements : mapping of str to float
        Finite.
    description : str
        What QuPath shows of an annotation from 0.5 on.
    """
    properties: dict[str, Any] = {
        "objectType": kind,
        "name": name,
        "classification": {"name": class_name, "color": list(ImageColor.getrgb(colour))},
        "isLocked": True,
        "measurements": dict(measurements),
    }
    if description:
        properties["metadata"] = {"ANNOTATION_DESCRIPTION": description}
    return {
        "type": "Feature",
        "id": str(uuid4()),
        "geometry": shapely.geometry.mapping(polygon),
        "properties": properties,
    }


def from_origin(polygons: np.ndarray, slide: Slide, origin: Origin) -> np.ndarray:
    """Polygons (n,) of a slide, counted from another origin.

    Parameters
    ----------
    polygons : numpy.ndarray
        Of shapely.Polygon: (x, y) in level-0 px from the corner of the slide as it is shown.
    slide : Slide
    origin : {"slide", "file"}
        That corner, which is also QuPath's where it opens the file by OpenSlide and crops it to its
        bounds, its default; or the corner of the file's level 0, which differs by `Slide.origin_px`.
    """
    y_px, x_px = {"slide": (0, 0), "file": slide.origin_px}[origin]
    return shapely.transform(polygons, partial(np.add, (x_px, y_px)))


def write_collection(collection: Mapping[str, Any], path: Path) -> None:
    """Write a FeatureCollection as JSON."""
    # In ASCII, all else escaped: QuPath on Java 17 reads it in the encoding of the system.
    text = json.dumps(collection, allow_nan=False)
    path.write_text(text + "\n", encoding="ascii", newline="\n")
