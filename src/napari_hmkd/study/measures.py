"""How far two gradings of the same cases agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.bootstrap import ClusterBootstrap, Estimate, Floats
from napari_hmkd.grade_tables import cross_tables, quadratic_kappa, ratio
from napari_hmkd.study.scores import GRADES

NO_CASE = "undefined: no case has both"
CONSTANT = "undefined: both are the same grade throughout"
TOO_FEW = "undefined: fewer than two cases have both"
LIMITS_SD = 1.96
SLIDE = "slide"
"""What the bootstrap draws."""

Slides = NDArray[np.str_]
Grades = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class GradeAgreement:
    """Two gradings compared grade by grade.

    Attributes
    ----------
    cases, slides : int
        What both graded.
    agreement_percent : float or None
        Cases with the same grade, 0 to 100; None without a case.
    kappa : Estimate
        Cohen's quadratic weighted kappa.
    table : 4 x 4 int
        Cases by the first's grade (row) and the second's (column).
    """

    cases: int
    slides: int
    agreement_percent: float | None
    kappa: Estimate
    table: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Differences of two measurements of the same cases.

    Attributes
    ----------
    cases, slides : int
        What both measured.
    bias, sd : Estimate
        Mean and standard deviation (n - 1) of the differences.
    lower_limit, upper_limit : Estimate
        Limits of agreement, bias -/+ 1.96 SD.
    """

    cases: int
    slides: int
    bias: Estimate
    sd: Estimate
    lower_limit: Estimate
    upper_limit: Estimate


def grade_agreement(first: Grades, second: Grades, slides: Slides, seed: int) -> GradeAgreement:
    """Compare two gradings, (n,) of 0 to 3 each, of cases that lie on `slides` (n,)."""
    bootstrap = ClusterBootstrap(slides.tolist(), SLIDE, seed=seed)
    sums = bootstrap.sums(cross_tables(first, second, GRADES))
    cases = len(first)
    return GradeAgreement(
        cases,
        bootstrap.clusters,
        100 * float(np.mean(first == second)) if cases else None,
        bootstrap.estimate(quadratic_kappa(sums), CONSTANT if cases else NO_CASE),
        tuple(tuple(row) for row in sums[0].astype(int).tolist()),
    )


def bland_altman(differences: Floats, slides: Slides, seed: int) -> BlandAltman:
    """Bias and limits of agreement (Bland & Altman 1986, Lancet i:307-310).

    Every case counts the same; that cases of one slide resemble each other is in the intervals.

    Parameters
    ----------
    differences : (n,)
        First measurement less second, of each case.
    slides : (n,)
        The slide of each case.
    seed : int
        Of the bootstrap.
    """
    bootstrap = ClusterBootstrap(slides.tolist(), SLIDE, seed=seed)
    # About their mean, so that a small spread is not lost in large squares.
    centre = differences.mean() if len(differences) else 0.0
    off = differences - centre
    count, total, squares = bootstrap.sums(np.stack([np.ones_like(off), off, off**2], axis=1)).T
    mean = ratio(total, count)
    bias = centre + mean
    sd = np.sqrt(ratio((squares - total * mean).clip(0), count - 1))
    return BlandAltman(
        len(differences),
        bootstrap.clusters,
        bootstrap.estimate(bias, NO_CASE),
        bootstrap.estimate(sd, TOO_FEW),
        bootstrap.estimate(bias - LIMITS_SD * sd, TOO_FEW),
        bootstrap.estimate(bias + LIMITS_SD * sd, TOO_FEW),
    )
