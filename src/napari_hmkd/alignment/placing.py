"""Where the IHC's tissue lies on the H&E's, all around and mirrored, found at low resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft

from napari_hmkd.alignment.picture import Canvas, Picture, Texture

_SIDE_PX = 96  # of the tissue's longer side: textures of sections of one block still agree
_STEP_DEG = 4
_NEAR_DEG = 15  # a turn so small leaves some of the agreement


@dataclass(frozen=True, eq=False)
class Placement:
    """A way to lay the IHC over the H&E: moved, turned, perhaps mirrored.

    Attributes
    ----------
    score : float
        Correlation of the textures there, -1 to 1.
    angle_deg : int
    affine : numpy.ndarray
        From H&E to IHC, um, (3, 3).
    """

    score: float
    angle_deg: int
    affine: np.ndarray

    def is_near(self, other: Placement) -> bool:
        """Whether it is turned by nearly the same angle."""
        apart = abs(self.angle_deg - other.angle_deg) % 360
        return min(apart, 360 - apart) <= _NEAR_DEG


def placing_mpp(he: Picture, ihc: Picture) -> float:
    """The pixel size that placements are looked for at."""
    smaller, larger = sorted((he.extent_um, ihc.extent_um))
    return max(smaller, larger / 2) / _SIDE_PX


def placements(he: Picture, ihc: Picture, mirrored: bool) -> list[Placement]:
    """The best shift for each angle, all around, by cross-correlation; the best placement first."""
    mpp = placing_mpp(he, ihc)
    fixed, moving = he.texture(mpp), ihc.texture(mpp)
    canvas = Canvas.around(he.box_um, mpp)
    size = np.ptp(ihc.box_um, axis=0)
    side = math.ceil(math.hypot(*size) / mpp)  # room for the IHC at any angle
    room = Canvas(np.zeros(2), (side, side), mpp)
    shape = tuple(fft.next_fast_len(length + side, real=True) for length in canvas.shape)
    reference = _spectrum(fixed, canvas, np.eye(3), shape)
    found = []
    for angle_deg in range(0, 360, _STEP_DEG):
        turned = _turn(angle_deg, mirrored, ihc.box_um.mean(axis=0), side * mpp / 2)
        correlation = fft.irfft2(reference * _spectrum(moving, room, turned, shape).conj(), shape)
        peak = np.array(np.unravel_index(correlation.argmax(), shape))
        shift_px = np.where(peak < canvas.shape, peak, peak - shape)
        affine = turned.copy()
        affine[:2, 2] -= turned[:2, :2] @ (canvas.origin_um + shift_px * mpp)
        found.append(Placement(float(correlation.max()), angle_deg, affine))
    return sorted(found, key=lambda placement: -placement.score)


def margin(best: Placement, alike: list[Placement], others: list[Placement]) -> float:
    """How many times better the best placement is than what chance gives the same two slides.

    Parameters
    ----------
    best : Placement
    alike, others : list of Placement
        Those mirrored as it is, of which the ones near it do not count, and those mirrored otherwise.
    """
    rivals = [one.score for one in alike if not one.is_near(best)] + [one.score for one in others]
    return best.score / max(*rivals, 1e-6)


def _turn(angle_deg: int, mirrored: bool, centre_um: np.ndarray, middle_um: float) -> np.ndarray:
    """The map of a square canvas, about whose middle the IHC is turned, to the IHC, (3, 3)."""
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    affine = np.eye(3)
    affine[:2, :2] = np.array([(cos, -sin), (sin, cos)]) @ np.diag((1, -1 if mirrored else 1))
    affine[:2, 2] = centre_um - affine[:2, :2] @ (middle_um, middle_um)
    return affine


def _spectrum(
    texture: Texture, canvas: Canvas, affine: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Fourier transform of a texture of unit norm."""
    seen = texture.on(canvas, affine)[0]
    return fft.rfft2(seen / max(np.linalg.norm(seen), 1e-6), shape)
