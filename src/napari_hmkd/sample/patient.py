"""What differs between procedural patients, and how a HER2 grade shows in the H&E.

The signal strengths are constants of this file, fixed before any network was trained. A region's
severity is its grade plus noise of the patient and of the region; every H&E factor is linear in
the severity with noise of its own. The IHC follows the grade itself, so it knows more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.sample.noise import derive_seed, hash_normal, hash_uniform

FACTOR_NAMES = ("nuclear_radius_um", "size_variation", "chromatin", "mitotic_share")
# Each factor is BASE + SLOPE * severity + NOISE * normal; severity noise is shared by all four.
FACTOR_BASE = np.array([3.10, 0.08, 0.72, 0.004])
FACTOR_SLOPE = np.array([0.42, 0.045, 0.115, 0.006])
FACTOR_NOISE = np.array([0.12, 0.020, 0.030, 0.004])
FACTOR_FLOOR = np.array([2.2, 0.02, 0.35, 0.0])
SEVERITY_STD_PATIENT = 0.45
SEVERITY_STD_REGION = 0.50

# Chance that a region's grade differs from the patient's by -2 to +2 (reflected at 0 and 3).
_GRADE_STEP_CHANCES = (0.05, 0.17, 0.56, 0.17, 0.05)

# Optical densities per unit of stain in R, G, B: Ruifrok and Johnston's (2001) directions, with
# more blue absorbed by eosin and more green by haematoxylin, as in sections of today's scanners.
_HAEMATOXYLIN = np.array([0.640, 0.780, 0.330])
_EOSIN = np.array([0.110, 0.940, 0.330])
_DAB = np.array([0.340, 0.600, 0.790])


@dataclass(frozen=True)
class Stains:
    """Optical density of one unit of each stain, each of shape (3,), in R, G, B."""

    haematoxylin: NDArray[np.float32]
    eosin: NDArray[np.float32]
    dab: NDArray[np.float32]
    counterstain: NDArray[np.float32]


@dataclass(frozen=True)
class Patient:
    """One procedural patient: a seed, a leading grade, a severity offset and stains."""

    seed: int
    grade: int
    severity_offset: float
    stains: Stains

    @classmethod
    def from_seed(cls, seed: int) -> Patient:
        """Draw the patient that belongs to a seed."""
        key = derive_seed(seed, 1)
        return cls(
            seed=seed,
            grade=int(hash_uniform(key, 0) * 4),
            severity_offset=SEVERITY_STD_PATIENT * float(hash_normal(key, 1)),
            stains=_draw_stains(key),
        )

    def region_grade(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
        """Grade 0 to 3 of the regions with lattice indices (i, j)."""
        edges = np.cumsum(_GRADE_STEP_CHANCES)[:-1]
        step = np.digitize(hash_uniform(derive_seed(self.seed, 2), i, j), edges) - 2
        return 3 - np.abs(3 - np.abs(self.grade + step))

    def region_factors(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
        """H&E factors of the regions (i, j), shape (*i.shape, 4), in FACTOR_NAMES' order."""
        key = derive_seed(self.seed, 3)
        severity = (
            self.region_grade(i, j)
            + self.severity_offset
            + SEVERITY_STD_REGION * hash_normal(key, i, j, 0)
        )
        own = hash_normal(key, i[..., None], j[..., None], np.arange(1, 5))
        factors = FACTOR_BASE + FACTOR_SLOPE * severity[..., None] + FACTOR_NOISE * own
        return np.maximum(factors, FACTOR_FLOOR)


def oracle_grades(factors: NDArray[np.float64]) -> NDArray[np.int64]:
    """The best grade that the true H&E factors allow: Bayes' rule with the generator's own numbers.

    Parameters
    ----------
    factors : (n, 4) float
        Mean factors of each tile's tumour cells, in FACTOR_NAMES' order.

    Returns
    -------
    (n,) int
        Grade of highest posterior probability under equal priors.
    """
    shared = SEVERITY_STD_PATIENT**2 + SEVERITY_STD_REGION**2
    covariance = shared * np.outer(FACTOR_SLOPE, FACTOR_SLOPE) + np.diag(FACTOR_NOISE**2)
    means = FACTOR_BASE + FACTOR_SLOPE * np.arange(4)[:, None]
    apart = np.asarray(factors)[:, None, :] - means
    distance = np.einsum("nkf,fg,nkg->nk", apart, np.linalg.inv(covariance), apart)
    return distance.argmin(axis=1)


def _draw_stains(key: int) -> Stains:
    """Stain vectors that vary between patients as between laboratories and days."""

    def vary(vector: NDArray[np.float64], index: int, strength: float) -> NDArray[np.float32]:
        tint = 1 + 0.05 * hash_normal(key, index, np.arange(3))
        amount = strength * (1 + 0.08 * float(hash_normal(key, index, 3)))
        return (vector * tint * amount).astype(np.float32)

    return Stains(
        haematoxylin=vary(_HAEMATOXYLIN, 10, 1.15),
        eosin=vary(_EOSIN, 11, 0.62),
        dab=vary(_DAB, 12, 1.0),
        counterstain=vary(_HAEMATOXYLIN, 13, 0.62),
    )
