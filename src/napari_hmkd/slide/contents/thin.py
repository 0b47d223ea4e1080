"""Thin structures in an overview: the faint membranes of fat, and the edges of a coverslip."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage.draw import line
from skimage.measure import label
from skimage.transform import probabilistic_hough_line

from napari_hmkd.slide.contents.density import window_mean
from napari_hmkd.slide.contents.morphology import dilation, opening
from napari_hmkd.slide.contents.pen import keep_large, touching
from napari_hmkd.slide.contents.strips import by_strips

_MESH_UM = 72.0  # a fat cell: every window holds some membrane
_MEMBRANE_UM = 40.0
# Mean height of ridges of optical density in a window, at 8 um/px. Fat: 0.0011 to 0.0034 in BCI's
# faintest, 0.010 and more elsewhere; glass: 0.0008 at most, on her2st's printed slides 0.0013 (95 %).
_RIDGES = 0.0012
_SMALLEST_MESH_UM2 = 150.0**2

_LINE_WIDTH_UM = 120.0  # a line of 24 um, widened by the windows that texture is measured in
_SHORTEST_LINE_UM = 800.0
_COLOURLESS = 0.4  # spread of a line's three densities over the strongest; H&E: 0.5 to 0.8


def faint_mesh(
    density: np.ndarray, known: np.ndarray, tissue: np.ndarray, um_per_px: float
) -> np.ndarray:
    """Meshes of thin membranes, too faint for tissue, that go on from tissue.

    Parameters
    ----------
    density : float (height, width)
        Optical density over glass, mean of the colours.
    known : bool (height, width)
        Where it is decided already what there is.
    tissue : bool (height, width)
        What a mesh must touch.
    um_per_px : float
        Pixel size.

    Returns
    -------
    bool (height, width), nothing of `known`.
    """
    reach = max(3, round(_MEMBRANE_UM / um_per_px))
    window = max(3, round(_MESH_UM / um_per_px))

    def meshes(density: np.ndarray, known: np.ndarray) -> np.ndarray:
        ridges = np.where(known, 0, density - opening(density, reach))
        weight = window_mean((~known).astype(np.float32), window)
        mean = window_mean(ridges, window) / np.maximum(weight, 1 / window**2)
        return opening((mean > _RIDGES) & ~known, reach)  # rims of tissue are thin, fat is not

    mesh = by_strips(meshes, density, known, halo=2 * reach + window)
    mesh = keep_large(mesh, _SMALLEST_MESH_UM2 / um_per_px**2)
    if not mesh.any():
        return mesh
    near = dilation(tissue, reach)
    return touching(mesh, near)


def straight_lines(mask: np.ndarray, density: np.ndarray, um_per_px: float) -> np.ndarray:
    """Long, thin, straight and colourless parts of a mask: edges of a coverslip, scratches, seams.

    Parameters
    ----------
    mask : bool (height, width)
    density : float (3, height, width)
        Optical density over glass.
    um_per_px : float
        Pixel size.

    Returns
    -------
    bool (height, width), part of `mask`.
    """
    width = max(3, round(_LINE_WIDTH_UM / um_per_px))
    shortest = max(8, round(_SHORTEST_LINE_UM / um_per_px))
    broad = opening(np.pad(mask, width), width)[width:-width, width:-width]
    thin = mask & ~broad
    thin = _extended(thin, shortest)
    found = np.zeros_like(mask)
    if not thin.any():
        return found
    across = np.stack([window_mean(channel, width) for channel in density])
    for start, end in probabilistic_hough_line(
        thin, threshold=shortest // 2, line_length=shortest, line_gap=width, rng=0
    ):
        at = line(start[1], start[0], end[1], end[0])
        colour = across[:, *at].mean(axis=1)
        if np.ptp(colour) <= _COLOURLESS * colour.max():
            found[at] = True
    return dilation(found, width + 2) & thin


def _extended(mask: np.ndarray, length_px: int) -> np.ndarray:
    """The connected parts of a mask whose bounding box has a diagonal of at least `length_px`."""
    parts = label(mask, connectivity=2)
    boxes = ndimage.find_objects(parts)
    long = [math.hypot(*(side.stop - side.start for side in box)) >= length_px for box in boxes]
    mask = mask.copy()
    mask[mask] = np.array([False, *long])[parts[mask]]
    return mask
