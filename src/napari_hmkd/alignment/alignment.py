"""`Alignment`: where a place of an H&E slide lies on its IHC slide."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide
from napari_hmkd.slide.fingerprint import fingerprint

SCALES = (0.5, 2.0)
"""IHC um per H&E um, along any direction, that tissue can have: beyond it a pixel size is wrong."""


class Method(StrEnum):
    """How an alignment was found."""

    GIVEN = "given"
    LANDMARKS = "landmarks"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, eq=False)
class Alignment:
    """An affine map from the H&E slide to the IHC slide.

    Positions are (y, x) in um from the top left corner of level 0: a level-0 pixel's middle lies half a
    pixel from its edge.

    Attributes
    ----------
    affine : numpy.ndarray
        From an H&E position to the IHC position, float64 (3, 3); its last row may be left out.
    method : Method
    he_fingerprint, ihc_fingerprint : str
        Of the slides that it belongs to.
    he_mpp, ihc_mpp : tuple of float
        Their pixel sizes (y, x), um/px, on which the positions rest.
    residual_um : float or None
        Root mean square of what the pairs of landmarks lie off, in um on the IHC, or the parts that were
        found automatically, in um on the H&E; None where nothing was left over to measure it by.
    score : float or None
        Of the automatic search: how many times better the tissue's texture fits than turned or mirrored.

    Raises
    ------
    AlignmentError
        The matrix is not finite, mirrors, or scales by what no tissue does.
    """

    affine: np.ndarray
    method: Method
    he_fingerprint: str
    ihc_fingerprint: str
    he_mpp: tuple[float, float]
    ihc_mpp: tuple[float, float]
    residual_um: float | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        """Check the matrix, and complete it."""
        object.__setattr__(self, "affine", _checked(self.affine))

    def to_ihc(self, points_um: npt.ArrayLike) -> np.ndarray:
        """Positions on the IHC of positions on the H&E, both (..., 2), in um."""
        points = np.asarray(points_um, dtype=float)
        mapped: np.ndarray = points @ self.affine[:2, :2].T + self.affine[:2, 2]
        return mapped


def align_by_matrix(
    he_slide: Slide,
    ihc_slide: Slide,
    affine: npt.ArrayLike,
    method: Method = Method.GIVEN,
    residual_um: float | None = None,
    score: float | None = None,
) -> Alignment:
    """The alignment of two slides that a matrix states, as `Alignment.affine`.

    Raises
    ------
    AlignmentError
        As `Alignment`.
    PixelSizeError
        A slide has none.
    SlideReadError
        A slide does not answer.
    """
    return Alignment(
        np.asarray(affine),
        method,
        fingerprint(he_slide),
        fingerprint(ihc_slide),
        he_slide.require_mpp(),
        ihc_slide.require_mpp(),
        residual_um,
        score,
    )


def _checked(affine: npt.ArrayLike) -> np.ndarray:
    """The matrix as float64 (3, 3), read-only."""
    matrix = np.array(affine, dtype=float)
    if matrix.shape == (2, 3):
        matrix = np.vstack([matrix, (0, 0, 1)])
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise AlignmentError(
            f"asked to align by a matrix of shape {matrix.shape} that is not 2 x 3 or 3 x 3 finite numbers; "
            "give rows y and x, in um"
        )
    if not np.allclose(matrix[2], (0, 0, 1)):
        raise AlignmentError(
            f"asked to align by a matrix whose last row is {matrix[2].tolist()}, not 0, 0, 1; give an affine "
            "map of (y, x, 1)"
        )
    determinant = np.linalg.det(matrix[:2, :2])
    largest, smallest = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    if smallest < SCALES[0] or largest > SCALES[1]:
        raise AlignmentError(
            f"the map from H&E to IHC scales by {smallest:.3g} to {largest:.3g}, and tissue by {SCALES[0]:g} to "
            f"{SCALES[1]:g}: look at both slides' pixel sizes and at whether each pair of landmarks is of one "
            "place, and give the matrix or the landmarks in um"
        )
    if determinant < 0:
        raise AlignmentError(
            f"the map from H&E to IHC mirrors (its determinant is {determinant:.3g}): the section lies the "
            "other way round, coordinates were given as (x, y) on one side, or a pair of landmarks is of two "
            "places; mirror the scan, or correct them"
        )
    matrix.flags.writeable = False
    return matrix
