"""Parts of a slide that a user has marked and named, such as the invasive tumour."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import shapely
from skimage.draw import polygon2mask

from napari_hmkd.errors import SlideError, reason_of
from napari_hmkd.geometry import Size
from napari_hmkd.slide import TissueMask
from napari_hmkd.tiling import TileGrid

INVASIVE_TUMOUR = "invasive tumour"
"""The name of the region that a slide's grade is stated for; see `invasive_tumour`."""
TUMOUR_NAMES = (INVASIVE_TUMOUR, "tumour")
"""Names that it may have, as `same_region` gives them, the clearest first; QuPath's own class is "Tumor"."""

_CORNERS_OF_ELLIPSE = 128
_UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError)


class Named(Protocol):
    """What has a region's name."""

    @property
    def name(self) -> str:
        """As the user calls it."""


AnyNamed = TypeVar("AnyNamed", bound=Named)


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

    def tissue_fraction(self, grid: TileGrid, tissue: TissueMask | None) -> np.ndarray:
        """The share of each tile that is tissue and inside: float32 (rows, columns).

        Without a tissue mask, all of the slide that is inside is taken for tissue, exactly; with one, a
        pixel of the mask is inside where its middle is.
        """
        if tissue is None:
            height, width = grid.step_px
            y, x = grid.origins(grid.tiles()).T
            tiles = shapely.box(x, y, x + width, y + height)
            outline = self.on_slide(grid.slide_size)
            # Intersections do not use what is prepared: only at the edge is one computed.
            shapely.prepare(outline)
            share = shapely.contains(outline, tiles).astype(float)
            edge = shapely.intersects(outline, tiles) & (share == 0)
            overlap = shapely.area(shapely.intersection(tiles[edge], outline))
            share[edge] = overlap / (height * width)
        else:
            mask = tissue.mask & self._mask(tissue)
            share = TissueMask(mask, tissue.mpp, tissue.downsample).fraction(
                grid.origins(grid.tiles()), grid.step_px
            )
        return share.astype(np.float32).reshape(grid.rows, grid.columns)

    def on_slide(self, size: Size) -> shapely.Geometry:
        """What of its outline lies on a slide of that size, level-0 px."""
        return shapely.intersection(self.outline, shapely.box(0, 0, size.width, size.height))

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
        return polygon2mask(tissue.mask.shape, corners)


def tiles_inside(regions: Iterable[MarkedRegion], grid: TileGrid) -> np.ndarray:
    """Which tiles share area with a region: bool (rows, columns)."""
    inside = np.zeros((grid.rows, grid.columns), bool)
    for one in regions:
        inside |= one.tissue_fraction(grid, None) > 0
    return inside


def same_region(name: str) -> str:
    """What the names of one region have in common, in either spelling of "tumour".

    napari numbers a second layer, "tumour [1]".
    """
    plain = re.sub(r"\s*\[\d+\]$", "", name.strip()).casefold()
    return re.sub(r"\btumor\b", "tumour", plain)


def invasive_tumour(regions: Iterable[AnyNamed]) -> AnyNamed | None:
    """The region that a slide's grade is stated for: the first of `TUMOUR_NAMES` that one has."""
    named = {same_region(one.name): one for one in regions}
    return next((named[name] for name in TUMOUR_NAMES if name in named), None)


def quoted(regions: Iterable[Named]) -> str:
    """Their names, for messages."""
    return ", ".join(f"'{one.name}'" for one in regions)


def regions_of_shapes(
    layers: Sequence[tuple[str, Sequence[tuple[str, npt.ArrayLike]]]],
) -> tuple[MarkedRegion, ...]:
    """Regions of drawn shapes; layers of one region's name are one.

    Parameters
    ----------
    layers : sequence of (name, shapes)
        A shape is its kind and its vertices, as napari has them: "polygon" and "rectangle" with their
        corners, "ellipse" with those of its box, (n, 2), (y, x) in level-0 px. Lines, paths and what
        else encloses nothing are left out, and so is a layer of nothing else.
    """
    return _merged(
        (name, shapely.Polygon(_outline(kind, np.asarray(vertices, float))[:, ::-1]))
        for name, shapes in layers
        for kind, vertices in shapes
        if kind in ("polygon", "rectangle", "ellipse") and len(np.asarray(vertices)) > 2
    )


def read_regions(path: Path) -> tuple[MarkedRegion, ...]:
    """Regions from a GeoJSON file, such as QuPath's export of annotations.

    A region is called by its annotation's name, or else its class; those of the same name are one, and
    lines and points are left out. What is classed as tumour under another name is a region of its
    class, too.

    Raises
    ------
    SlideError
        If the file cannot be read, is no GeoJSON, or holds nothing with an area.
    """
    try:
        content = json.loads(path.read_bytes())  # of any of Unicode's encodings
        if isinstance(content, dict):
            content = [content] if content["type"] == "Feature" else content["features"]
        found = _merged(
            (name, shapely.geometry.shape(one["geometry"]))
            for one in content
            if one["geometry"] is not None
            for name in _names(one.get("properties") or {})
        )
    except _UNUSABLE as error:
        raise SlideError(
            f"asked to read regions from {path}, but: {reason_of(error)}; export the annotations from QuPath as "
            "GeoJSON, or draw them in napari"
        ) from error
    if not found:
        raise SlideError(
            f"asked to read regions from {path}, but nothing in it encloses an area; export annotations that "
            "are polygons, rectangles or ellipses"
        )
    return found


def _merged(named: Iterable[tuple[str, shapely.Geometry]]) -> tuple[MarkedRegion, ...]:
    """One region a name, called as it was first, of what has an area."""
    together: dict[str, tuple[str, list[shapely.Geometry]]] = {}
    for name, outline in named:
        parts = shapely.get_parts(shapely.make_valid(outline))
        flat = [one for one in parts if one.geom_type in ("Polygon", "MultiPolygon") and one.area]
        together.setdefault(same_region(name), (name.strip(), []))[1].extend(flat)
    return tuple(
        MarkedRegion(name, shapely.union_all(parts)) for name, parts in together.values() if parts
    )


def _names(properties: dict[str, Any]) -> list[str]:
    classed = _class_name(properties.get("classification") or {}) or "region"
    own = str(properties.get("name") or classed)
    by_name, by_class = (same_region(name) in TUMOUR_NAMES for name in (own, classed))
    return [own, classed] if by_class and not by_name else [own]


def _class_name(said: dict[str, Any] | str) -> str:
    """QuPath's class as it shows it: of nested ones it writes the `names`, others may write a text alone."""
    if isinstance(said, str):
        return said
    return str(said.get("name") or ": ".join(map(str, said.get("names") or ())))


def _outline(kind: str, vertices: np.ndarray) -> np.ndarray:
    if kind != "ellipse":
        return vertices
    # napari gives the corners of the box, which may be turned.
    middle = vertices.mean(axis=0)
    along, across = (vertices[1] - vertices[0]) / 2, (vertices[3] - vertices[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _CORNERS_OF_ELLIPSE, endpoint=False)[:, None]
    return middle + np.cos(angle) * along + np.sin(angle) * across
