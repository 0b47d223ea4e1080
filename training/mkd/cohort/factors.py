"""The hidden factors of drawn patients, their labels, and what the best reader could tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_hmkd.sample.noise import derive_seed, hash_normal, hash_uniform
from napari_hmkd.training.mkd.cohort.design import FACTORS, SHOWN, CohortDesign, DrawnTarget

View = Literal["pathology", "genes", "both"]
VIEWS: tuple[View, ...] = get_args(View)
_HIDDEN, _ERROR, _LABEL = 80, 81, 82
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Factors:
    """The truth about n patients.

    Attributes
    ----------
    hidden : (n, 3) float
        In FACTORS' order, standard normal.
    shown : (n, 2) float
        What the tissue shows of those in SHOWN: with the patient's error, without its regions'.
    """

    hidden: Floats
    shown: Floats


def draw_factors(design: CohortDesign) -> Factors:
    """The factors of all patients of a design."""
    patient = np.arange(design.patients)[:, None]
    hidden = hash_normal(derive_seed(design.seed, _HIDDEN), patient, np.arange(len(FACTORS)))
    error = hash_normal(derive_seed(design.seed, _ERROR), patient, np.arange(len(SHOWN)))
    columns = [FACTORS.index(name) for name in SHOWN]
    return Factors(hidden, hidden[:, columns] + design.patient_noise * error)


def draw_labels(design: CohortDesign, factors: Factors) -> NDArray[np.int64]:
    """(n, targets) labels, 0 or 1."""
    weights = np.array([target.weights for target in design.targets])
    chance = expit(factors.hidden @ weights.T + [target.intercept for target in design.targets])
    patient, target = np.ogrid[: len(chance), : len(design.targets)]
    drawn = hash_uniform(derive_seed(design.seed, _LABEL), patient, target)
    return (drawn < chance).astype(np.int64)


def oracle_scores(
    design: CohortDesign, factors: Factors, target: DrawnTarget, view: View
) -> Floats:
    """The best score for a target, in logits, that one side or both sides of the truth allow.

    It is the expected logit given what is seen: tissue shows `Factors.shown`, genes show their
    factors as they are (a module of many genes tells its factor almost exactly). Everything is normal,
    so what is not seen has the same variance in all patients and the expected logit ranks them as the
    probability does: no score has a higher AUC in the population.

    Returns
    -------
    (n,) float
    """
    reliability = 1 / (1 + design.patient_noise**2)
    expected = np.zeros_like(factors.hidden)
    if view != "genes":
        for column, name in enumerate(SHOWN):
            expected[:, FACTORS.index(name)] = reliability * factors.shown[:, column]
    if view != "pathology":
        for name in ("shared", "genomic"):
            expected[:, FACTORS.index(name)] = factors.hidden[:, FACTORS.index(name)]
    return expected @ np.array(target.weights) + target.intercept
