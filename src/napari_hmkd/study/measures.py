"""How far two gradings of the same cases agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.bootstrap import ClusterBootstrap, Estimate, Floats
from napari_hmkd.grade_tables import cross_tables, quadratic_kappa, ratio
from napari_hmkd.study.scores import GRADES, PATIENT

NO_CASE = "undefined: no case has both"
CONSTANT = "undefined: both are the same grade throughout"
TOO_FEW = "undefined: fewer than two cases have both"
LIMITS_SD = 1.96
SLIDE = "slide"
SEED = 0
"""Of every bootstrap, so that one study has one result, and differences of two pairs are paired."""

Grades = NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Where cases are from.

    Attributes
    ----------
    slides, clusters : (n,) str
        The slide of each case, and what the bootstrap draws it with: its patient, or the slide where no
        patient is known.
    unit : str
        What messages call a cluster: `PATIENT` where any is known, else `SLIDE`.
    """

    slides: NDArray[np.str_]
    clusters: NDArray[np.str_]
    unit: str

    @classmethod
    def of(cls, slides: Sequence[str], patients: Sequence[str]) -> Origins:
        """Of cases on `slides` (n,) of `patients` (n,), "" where one is not known."""
        # No cell ends with a line break, so that no slide is taken for a patient of that name.
        clusters = [f"{p}\n" if p else slide for slide, p in zip(slides, patients, strict=True)]
        unit = PATIENT if any(patients) else SLIDE
        return cls(np.array(slides, np.str_), np.array(clusters, np.str_), unit)

    def __getitem__(self, which: NDArray[np.bool_]) -> Origins:
        """Those of some cases."""
        return Origins(self.slides[which], self.clusters[which], self.unit)

    def bootstrap(self) -> ClusterBootstrap:
        """Draws of the cases."""
        return ClusterBootstrap(self.clusters.tolist(), self.unit, seed=SEED)


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


def grade_agreement(first: Grades, second: Grades, origins: Origins) -> GradeAgreement:
    """Compare two gradings, (n,) of 0 to 3 each, of cases from `origins` (n,)."""
    bootstrap = origins.bootstrap()
    sums = bootstrap.sums(cross_tables(first, second, GRADES))
    cases = len(first)
    return GradeAgreement(
        cases,
        len(set(origins.slides)),
        100 * float(np.mean(first == second)) if cases else None,
        bootstrap.estimate(quadratic_kappa(sums), CONSTANT if cases else NO_CASE),
        tuple(tuple(row) for row in sums[0].astype(int).tolist()),
    )


def bland_altman(differences: Floats, origins: Origins) -> BlandAltman:
    """Bias and limits of agreement (Bland & Altman 1986, Lancet i:307-310).

    Every case counts the same; that cases of one origin resemble each other is in the intervals.

    Parameters
    ----------
    differences : (n,)
        First measurement less second, of each case.
    origins : Origins
        Of each case.
    """
    bootstrap = origins.bootstrap()
    # About their mean, so that a small spread is not lost in large squares.
    centre = differences.mean() if len(differences) else 0.0
    off = differences - centre
    count, total, squares = bootstrap.sums(np.stack([np.ones_like(off), off, off**2], axis=1)).T
    mean = ratio(total, count)
    bias = centre + mean
    sd = np.sqrt(ratio((squares - total * mean).clip(0), count - 1))
    return BlandAltman(
        len(differences),
        len(set(origins.slides)),
        bootstrap.estimate(bias, NO_CASE),
        bootstrap.estimate(sd, TOO_FEW),
        bootstrap.estimate(bias - LIMITS_SD * sd, TOO_FEW),
        bootstrap.estimate(bias + LIMITS_SD * sd, TOO_FEW),
    )
