"""Alignment from pairs of landmarks, by least squares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from skimage.transform import estimate_transform

from napari_hmkd.alignment.alignment import Alignment, Method, align_by_matrix
from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide

_EXACT = 3  # pairs that an affine map fits, whatever they are: nothing is left over
_LEAST_SPREAD_UM = 50.0  # a click is off by 5 um or so: closer together, and the angle is a guess


def align_by_landmarks(
    he_slide: Slide, ihc_slide: Slide, he_um: npt.ArrayLike, ihc_um: npt.ArrayLike
) -> Alignment:
    """The affine map of least squares over pairs of landmarks; of two pairs a similarity, of one a shift.

    Parameters
    ----------
    he_slide, ihc_slide : Slide
    he_um, ihc_um : array_like
        The same places on both slides in the same order, (n, 2), (y, x) in um as `Alignment` has them.

    Raises
    ------
    AlignmentError
        Landmarks are missing, unpaired or not finite, lie in one place or, three or
        more, on one line; or the map is none of tissue, see `Alignment`.
    SlideReadError
        A slide does not answer.
    """
    he, ihc = (np.asarray(points, dtype=float) for points in (he_um, ihc_um))
    _check_pairs(he, ihc)
    _check_spread(he, ihc)
    alignment = align_by_matrix(he_slide, ihc_slide, _fitted(he, ihc), Method.LANDMARKS)
    if len(he) <= _EXACT:
        return alignment
    residual = np.sqrt(np.mean(residuals_um(alignment, he, ihc) ** 2))
    return replace(alignment, residual_um=float(residual))


def residuals_um(alignment: Alignment, he_um: npt.ArrayLike, ihc_um: npt.ArrayLike) -> np.ndarray:
    """How far each pair of landmarks is off on the IHC, in um: float64 (n,).

    Parameters
    ----------
    alignment : Alignment
    he_um, ihc_um : array_like
        As `align_by_landmarks` takes them.
    """
    off: np.ndarray = np.linalg.norm(alignment.to_ihc(he_um) - np.asarray(ihc_um), axis=1)
    return off


def _fitted(he: np.ndarray, ihc: np.ndarray) -> np.ndarray:
    """The matrix (2, 3) that leaves the least squares on the IHC."""
    if len(he) == 1:
        return np.column_stack([np.eye(2), (ihc - he)[0]])
    if len(he) == 2:
        return np.asarray(estimate_transform("similarity", he, ihc).params[:2])
    # Not estimate_transform: its affine maps are least squares of another, homogeneous error.
    middle = he.mean(axis=0)
    solution = np.linalg.lstsq(np.column_stack([he - middle, np.ones(len(he))]), ihc)[0].T
    linear = solution[:, :2]
    return np.column_stack([linear, solution[:, 2] - linear @ middle])


def _check_pairs(he: np.ndarray, ihc: np.ndarray) -> None:
    if any(points.ndim != 2 or points.shape[1] != 2 for points in (he, ihc)):
        raise AlignmentError(
            f"asked to align by landmarks of shapes {he.shape} on the H&E and {ihc.shape} on the IHC: each "
            "landmark is a (y, x)"
        )
    if len(he) != len(ihc) or not len(he):
        raise AlignmentError(
            f"asked to align by landmarks, but there are {len(he)} on the H&E and {len(ihc)} on the IHC: set the "
            "same number on both, one at least; in napari press 'Mark landmarks', and click the same places "
            "in the same order"
        )
    if not (np.isfinite(he).all() and np.isfinite(ihc).all()):
        raise AlignmentError("asked to align by landmarks, but some are not finite: set them anew")


def _check_spread(he: np.ndarray, ihc: np.ndarray) -> None:
    """That several landmarks lie as far apart on both slides as their map needs."""
    if len(he) == 1:
        return
    for stain, points in (("H&E", he), ("IHC", ihc)):
        along, across = (
            np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / len(he) ** 0.5
        )
        if along < _LEAST_SPREAD_UM:
            raise AlignmentError(
                f"the {len(he)} landmarks on the {stain} lie within {along:.1f} um (root mean square) of one "
                f"place, and {_LEAST_SPREAD_UM:g} um are needed to tell an angle: set them farther apart"
            )
        if len(he) > 2 and across < _LEAST_SPREAD_UM:
            raise AlignmentError(
                f"the {len(he)} landmarks on the {stain} lie within {across:.1f} um (root mean square) of one "
                f"line, and {_LEAST_SPREAD_UM:g} um are needed for an affine map: set one beside the line, "
                "or two in all"
            )
