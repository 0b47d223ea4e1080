"""Parts of the tissue found again one by one on the IHC, and the map that most of them agree on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from skimage.measure import ransac
from skimage.transform import AffineTransform, SimilarityTransform

from napari_hmkd.alignment.picture import Canvas, Picture
from napari_hmkd.alignment.shifting import find_shift

_PART_PX = 48
_REACH_PX = 10
_PARTS_A_SIDE = 10
_LEAST_TISSUE = 0.1  # of a part: a core of a needle is narrow
_FEWEST_PARTS = 5
_MANY_PARTS = 60  # enough for an affine map; before, a similarity
_TOLERANCE_PX = 4.0  # sections are bent
_TRIALS = 300


@dataclass(frozen=True, eq=False)
class Fit:
    """An affine map and how many parts agree on it.

    Attributes
    ----------
    affine : numpy.ndarray
        From H&E to IHC, um, (3, 3).
    agreeing, parts : int
        Parts that were found where the map says, and all that were looked for.
    residual_um : float
        Root mean square of what the agreeing parts are off.
    """

    affine: np.ndarray
    agreeing: int
    parts: int
    residual_um: float

    @property
    def holds(self) -> bool:
        """Whether most parts agree."""
        return self.agreeing >= max(_FEWEST_PARTS, self.parts / 2)


def fit_parts(he: Picture, ihc: Picture, affine: np.ndarray, mpp: float) -> Fit:
    """A better map from parts of 48 px of common tissue, looked for within 10 px of where a first map says.

    The map agrees with as many of them as possible within 4 px (random sample consensus, Fischler and
    Bolles, CACM 24:381, 1981) and is their least squares.

    Parameters
    ----------
    he, ihc : Picture
    affine : numpy.ndarray
        The first map, from H&E to IHC, um, (3, 3).
    mpp : float
        Pixel size to compare at.
    """
    canvas = Canvas.around(he.box_um, mpp, rim_px=_REACH_PX)
    texture, tissue = he.texture(mpp).on(canvas, np.eye(3))
    other, share = ihc.texture(mpp).on(canvas, affine)
    side = min(_PART_PX, min(canvas.shape) - 2 * _REACH_PX)
    corners = _corners(np.minimum(tissue, share), side)  # an IHC may be of a part of the section
    shifts_px = np.array([_shift(texture, other, corner, side) for corner in corners])
    found = np.isfinite(shifts_px).all(axis=-1)
    nothing = Fit(affine, 0, len(corners), math.nan)
    if np.count_nonzero(found) < _FEWEST_PARTS:
        return nothing
    here_um = canvas.origin_um + (corners[found] + side / 2) * mpp
    there_um = here_um + shifts_px[found] * mpp
    model, fewest = (
        (AffineTransform, 3) if len(corners) >= _MANY_PARTS else (SimilarityTransform, 2)
    )
    change, agree = ransac(
        (here_um, there_um), model, fewest, _TOLERANCE_PX * mpp, max_trials=_TRIALS, rng=0
    )
    if change is None:
        return nothing
    off_um = change.residuals(here_um[agree], there_um[agree])
    residual_um = float(np.sqrt(np.mean(off_um**2)))
    return Fit(affine @ change.params, int(agree.sum()), len(corners), residual_um)


def _corners(tissue: np.ndarray, side: int) -> np.ndarray:
    """Top left corners of the parts with enough tissue, spread evenly, int (n, 2)."""
    axes = []
    for length in tissue.shape:
        room = length - side - 2 * _REACH_PX
        count = min(_PARTS_A_SIDE, 1 + 2 * room // side)
        axes.append(_REACH_PX + np.round(np.linspace(0, room, count)).astype(int))
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    share = np.array([tissue[y : y + side, x : x + side].mean() for y, x in corners])
    return corners[share >= _LEAST_TISSUE]


def _shift(texture: np.ndarray, other: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    y, x = corner
    around = other[y - _REACH_PX : y + side + _REACH_PX, x - _REACH_PX : x + side + _REACH_PX]
    return find_shift(texture[y : y + side, x : x + side], around)[0]
