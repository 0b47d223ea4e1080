"""What OME-Zarr 0.5 wants to know of an image that lies over a slide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from ome_zarr_models.common.omero import Omero
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.base import BaseOMEAttrs
from ome_zarr_models.v05.multiscales import Dataset, Multiscale

from napari_hmkd.export.provenance import KEY

VERSION: Literal["0.5"] = "0.5"
LEVEL = "0"
"""The only one."""


def multiscale(
    step_px: tuple[float, float], mpp: tuple[float, float], axes: str, name: str
) -> Multiscale:
    """One level at true scale, whose first pixel begins at the slide's corner.

    Parameters
    ----------
    step_px : tuple of float
        Height and width of a pixel in level-0 px of the slide.
    mpp : tuple of float
        The slide's pixel size (y, x), um/px.
    axes : str
        "yx" or "cyx".
    name : str
    """
    first_px = np.array(step_px) / 2 - 0.5  # from the middle of the slide's first pixel
    rest = len(axes) - 2
    return Multiscale(
        axes=[_axis(axis) for axis in axes],
        datasets=(
            Dataset.build(
                path=LEVEL,
                scale=[1.0] * rest + np.multiply(step_px, mpp).tolist(),
                translation=[0.0] * rest + (first_px * mpp).tolist(),
            ),
        ),
        name=name,
    )


def omero(channels: Sequence[tuple[str, str, tuple[float, float]]]) -> Omero:
    """How viewers show channels of a label, a colour (#rrggbb) and limits: the first, others if asked."""
    return Omero.model_validate(
        {
            "channels": [
                {
                    "label": label,
                    "color": colour.removeprefix("#").upper(),
                    "window": {"min": low, "max": high, "start": low, "end": high},
                    "active": index == 0,
                }
                for index, (label, colour, (low, high)) in enumerate(channels)
            ]
        }
    )


def attributes(ome: BaseOMEAttrs, source: dict[str, Any] | None = None) -> dict[str, Any]:
    """Attributes of a group: OME's, and where the image comes from."""
    found: dict[str, Any] = {"ome": ome.model_dump(mode="json", by_alias=True, exclude_none=True)}
    return found | ({KEY: source} if source else {})


def _axis(name: str) -> Axis:
    if name == "c":
        return Axis(name=name, type="channel")
    return Axis(name=name, type="space", unit="micrometer")
