"""Parts of a slide that a user has marked and named, such as the invasive tumour."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from skimage.draw import polygon2mask

from napari_hmkd.errors import SlideError
from napari_hmkd.slide import TissueMask
from napari_hmkd.tiling import TileGrid

INVASIVE_TUMOUR = "invasive tumour"
"""The name, in any case, of the region that a slide's grade is stated for."""

_CORNERS_OF_ELLIPSE = 128


@dataclass(frozen=True)
class MarkedRegion:
    """A named part of a slide.

    Attributes
    ----------
    name : str
        As the user calls it.
    outline : shapely.Geometry
        Polygons of (x, y) in level-0 px, counted from the scanned part.
    """

    name: str
    outline: shapely.Geometry

    @property
    def is_invasive_tumour(self) -> bool:
        """Whether its name says so."""
        return self.name.strip().casefold() == INVASIVE_TUMOUR

    def tissue_fraction(self, grid: TileGrid, tissue: TissueMask | None) -> np.ndarray:
        """The share of each tile that is tissue and inside: float32 (rows, columns).

        Without a tissue mask, all that is inside is taken for tissue, exactly; with one, a pixel of the
        mask is inside where its middle is.
        """
        if tissue is None:
            height, width = grid.step_px
            y, x = grid.origins(grid.tiles()).T
            shapely.prepare(self.outline)
            inside = shapely.intersection(shapely.box(x, y, x + width, y + height), self.outline)
            share = shapely.area(inside) / (height * width)
        else:
            mask = tissue.mask & self._mask(tissue)
            share = TissueMask(mask, tissue.mpp, tissue.downsample).fraction(
                grid.origins(grid.tiles()), grid.step_px
            )
        return share.astype(np.float32).reshape(grid.rows, grid.columns)

    def _mask(self, tissue: TissueMask) -> np.ndarray:
        inside = np.zeros(tissue.mask.shape, bool)
        for part in shapely.get_parts(self.outline):
            here = self._filled(part.exterior, tissue)
            for hole in part.interiors:
                here &= ~self._filled(hole, tissue)
            inside |= here
        return inside

    def _filled(self, ring: shapely.LinearRing, tissue: TissueMask) -> np.ndarray:
        corners = shapely.get_coordinates(ring)[:, ::-1] / tissue.downsample - 0.5
        filled: np.ndarray = polygon2mask(tissue.mask.shape, corners)
        return filled


def region_of_shapes(name: str, shapes: Sequence[tuple[str, npt.ArrayLike]]) -> MarkedRegion:
    """A region of one or several drawn shapes, together.

    Parameters
    ----------
    name : str
    shapes : sequence of (kind, vertices)
        The kinds of napari: "polygon" and "rectangle" with their corners, "ellipse" with those of its
        box, (n, 2), (y, x) in level-0 px. Lines and paths enclose nothing and are left out.

    Raises
    ------
    SlideError
        If no shape encloses anything.
    """
    enclosing = [
        shapely.make_valid(shapely.Polygon(_outline(kind, np.asarray(vertices, float))[:, ::-1]))
        for kind, vertices in shapes
        if kind in ("polygon", "rectangle", "ellipse") and len(np.asarray(vertices)) > 2
    ]
    return _region(name, shapely.union_all(enclosing))


def read_regions(path: Path) -> tuple[MarkedRegion, ...]:
    """Regions from a GeoJSON file, such as QuPath's export of annotations.

    A region is called by its annotation's name, or else its class; those of the same name are one.

    Raises
    ------
    SlideError
        If the file cannot be read, is no GeoJSON, or holds no polygon.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        features = content["features"] if isinstance(content, dict) else content
        named = [
            (_name(one["properties"]), shapely.geometry.shape(one["geometry"])) for one in features
        ]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        shapely.errors.ShapelyError,
    ) as error:
        raise SlideError(
            f"asked to read regions from {path}, but: {error!r}; export the annotations from QuPath as "
            "GeoJSON, or draw them in napari"
        ) from error
    together: dict[str, list[shapely.Geometry]] = {}
    for name, outline in named:
        together.setdefault(name, []).append(shapely.make_valid(outline))
    if not together:
        raise SlideError(f"asked to read regions from {path}, but there is none in it")
    return tuple(_region(name, shapely.union_all(parts)) for name, parts in together.items())


def _region(name: str, outline: shapely.Geometry) -> MarkedRegion:
    """Keep what has an area."""
    parts = [
        one for one in shapely.get_parts(outline) if one.geom_type in ("Polygon", "MultiPolygon")
    ]
    whole = shapely.union_all(parts)
    if whole.area == 0:
        raise SlideError(
            f"asked to grade inside the region '{name}', but it encloses nothing; draw a polygon, "
            "rectangle or ellipse"
        )
    return MarkedRegion(name, whole)


def _name(properties: dict[str, Any]) -> str:
    classified = properties.get("classification") or {}
    return str(properties.get("name") or classified.get("name") or "region")


def _outline(kind: str, vertices: np.ndarray) -> np.ndarray:
    if kind != "ellipse":
        return vertices
    # napari gives the corners of the box, which may be turned.
    middle = vertices.mean(axis=0)
    along, across = (vertices[1] - vertices[0]) / 2, (vertices[3] - vertices[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _CORNERS_OF_ELLIPSE, endpoint=False)[:, None]
    return middle + np.cos(angle) * along + np.sin(angle) * across
