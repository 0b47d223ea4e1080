"""Images in OME-Zarr 0.5 that lie over a slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.base import BaseOMEAttrs
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.multiscales import Dataset, Multiscale

from napari_hmkd.export.provenance import KEY

VERSION: Literal["0.5"] = "0.5"
LEVEL = "0"
"""The only one."""
CHANNEL_COLOURS = ("#ff7f0e", "#1f77b4", "#2ca02c", "#d62728", "#9467bd")
"""For channels that have no colours of their own."""

_CHUNK_PX = 512
Channel = tuple[str, str, tuple[float, float]]
"""A label, a colour (#rrggbb) and limits."""


def create_image(
    path: Path,
    step_px: tuple[float, float],
    mpp: tuple[float, float],
    name: str,
    channels: Sequence[Channel],
    source: Mapping[str, Any],
) -> zarr.Group:
    """Make the store of an image (c, y, x), whose `LEVEL` is to be written.

    Parameters
    ----------
    path : pathlib.Path
        It must not be there yet.
    step_px, mpp, name
        As `multiscale` takes them.
    channels : sequence of Channel
        Viewers show the first, others if asked.
    source : mapping
        Where the image comes from, plain values for JSON.
    """
    image = ImageAttrs.model_validate(
        {
            "version": VERSION,
            "multiscales": [multiscale(step_px, mpp, "cyx", name)],
            "omero": {"channels": _omero_channels(channels)},
        }
    )
    return zarr.create_group(path, zarr_format=3, attributes=attributes(image, source))


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


def write_level(group: zarr.Group, data: np.ndarray, axes: str, fill: float) -> None:
    """Write the pixels of a `multiscale`; `fill` is what stands for none."""
    *rest, height, width = data.shape
    chunks = (*(1 for _ in rest), min(height, _CHUNK_PX), min(width, _CHUNK_PX))
    array = group.create_array(
        LEVEL,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        fill_value=fill,
        dimension_names=axes,
    )
    array[...] = data


def attributes(ome: BaseOMEAttrs, source: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Attributes of a group: OME's, and where the image comes from."""
    found: dict[str, Any] = {"ome": ome.model_dump(mode="json", by_alias=True, exclude_none=True)}
    return found | ({KEY: source} if source else {})


def _omero_channels(channels: Sequence[Channel]) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "color": colour.removeprefix("#").upper(),
            "window": {"min": low, "max": high, "start": low, "end": high},
            "active": index == 0,
        }
        for index, (label, colour, (low, high)) in enumerate(channels)
    ]


def _axis(name: str) -> Axis:
    if name == "c":
        return Axis(name=name, type="channel")
    return Axis(name=name, type="space", unit="micrometer")
