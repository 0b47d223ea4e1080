"""What a slide's results were asked for with, by which a later run knows whether they are its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import shapely

from napari_hmkd.geometry import Origin
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import MarkedRegion

_OF_NO_RESULT = ("batch_size", "device", "precision")  # the key has the precision that came of them


def request_entry(
    settings: GradeSettings,
    regions: Sequence[MarkedRegion],
    painted: bool,
    geojson_origin: Origin,
) -> dict[str, Any]:
    """All that results depend on besides the key of their tiles, as JSON gives it back.

    Parameters
    ----------
    settings : GradeSettings
        Every one of them counts but for how the work was done.
    regions : sequence of MarkedRegion
        Known again by names and outlines, in their order.
    painted : bool
        Whether a user painted in the tissue.
    geojson_origin : {"slide", "file"}
        What `tiles.geojson` counts from.
    """
    chosen = {name: one for name, one in asdict(settings).items() if name not in _OF_NO_RESULT}
    asked = chosen | {
        "regions": outline_entries(regions),
        "tissue_painted": painted,
        "geojson_origin": geojson_origin,
    }
    return json.loads(json.dumps(asked))


def outline_entries(regions: Sequence[MarkedRegion]) -> list[dict[str, str]]:
    """By what regions are known again; where an outline begins and which way it goes round tells nothing."""
    return [{"name": one.name, "outline_sha256": _sha256(one.outline)} for one in regions]


def _sha256(outline: shapely.Geometry) -> str:
    return hashlib.sha256(shapely.to_wkb(shapely.normalize(outline))).hexdigest()
