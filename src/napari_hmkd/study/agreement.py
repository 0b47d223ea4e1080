"""Agreement of readers with each other, and with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from napari_hmkd.bootstrap import Estimate
from napari_hmkd.grade_tables import cross_tables, quadratic_kappa
from napari_hmkd.study.measures import (
    BlandAltman,
    GradeAgreement,
    Grades,
    Origins,
    bland_altman,
    grade_agreement,
)
from napari_hmkd.study.scores import GRADES, Case, Score
from napari_hmkd.study.values import ModelValue

CONSENSUS = "consensus of readers"
NO_PAIR = "undefined: no two readers have a kappa"
_NONE = -1


@dataclass(frozen=True, slots=True)
class ReaderPair:
    """Two readers, over the cases that both scored."""

    first: str
    second: str
    grades: GradeAgreement


@dataclass(frozen=True, slots=True)
class ReaderAndModel:
    """A reader, or the readers' consensus, with the model.

    Attributes
    ----------
    reader : str
        The reader's name, or `CONSENSUS`.
    grade_of_most_area : GradeAgreement
        The reader's grade (rows) with the grade that most of the tissue has (columns).
    expected_grade : BlandAltman
        The model's mean expected grade less the reader's grade.
    """

    reader: str
    grade_of_most_area: GradeAgreement
    expected_grade: BlandAltman


@dataclass(frozen=True, slots=True)
class Agreement:
    """All comparisons of a study.

    Attributes
    ----------
    pairs : tuple of ReaderPair
        Every two readers, by name.
    mean_kappa : Estimate
        Mean over the pairs that have a kappa; their draws are the same, so that its interval
        knows that pairs share readers and slides.
    readers_with_model : tuple of ReaderAndModel
        Empty without values of a model.
    consensus_with_model : ReaderAndModel or None
        None without values of a model.
    cases_without_consensus : tuple of (slide, region)
        Fewer than two readers scored them, or no grade has more than half of their scores.
    unit : str
        What the bootstrap draws: "patient", or "slide" where no patient is known.
    """

    pairs: tuple[ReaderPair, ...]
    mean_kappa: Estimate
    readers_with_model: tuple[ReaderAndModel, ...]
    consensus_with_model: ReaderAndModel | None
    cases_without_consensus: tuple[Case, ...]
    unit: str

    @property
    def with_model(self) -> tuple[ReaderAndModel, ...]:
        """Each reader, then their consensus, where there is a model."""
        consensus = self.consensus_with_model
        return (*self.readers_with_model, *([] if consensus is None else [consensus]))


class _Grid:
    """Scores as an array: `grades` (readers, cases), -1 where a reader did not score a case."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self.readers = sorted({score.reader for score in scores})
        self.cases = sorted({score.case for score in scores})
        slides, patients = [slide for slide, _ in self.cases], {s.slide: s.patient for s in scores}
        self.origins = Origins.of(slides, [patients[slide] for slide in slides])
        row = {reader: number for number, reader in enumerate(self.readers)}
        column = {case: number for number, case in enumerate(self.cases)}
        self.grades = np.full((len(row), len(column)), _NONE)
        for score in scores:
            self.grades[row[score.reader], column[score.case]] = score.grade

    def consensus(self) -> Grades:
        """(cases,): the grade that more than half of two or more readers give, or -1."""
        votes = (self.grades[None] == np.arange(GRADES)[:, None, None]).sum(1)
        voters = votes.sum(0)
        agreed = (voters >= 2) & (2 * votes.max(0) > voters)
        return np.where(agreed, votes.argmax(0), _NONE)


def agreement(scores: Sequence[Score], model: Mapping[Case, ModelValue]) -> Agreement:
    """Compare every two readers, and each reader and their consensus with the model.

    Parameters
    ----------
    scores : sequence of Score
        No reader scores a case twice; all of a slide have one patient, or none.
    model : mapping of (slide, region) to ModelValue
        Of some of the cases, or none.
    """
    grid = _Grid(scores)
    consensus = grid.consensus()
    graders = list(zip(grid.readers, grid.grades, strict=True))
    return Agreement(
        pairs=tuple(
            ReaderPair(first, second, _compare(ours, theirs, grid.origins))
            for (first, ours), (second, theirs) in combinations(graders, 2)
        ),
        mean_kappa=_mean_kappa(grid),
        readers_with_model=tuple(
            _with_model(reader, grades, grid, model) for reader, grades in graders if model
        ),
        consensus_with_model=_with_model(CONSENSUS, consensus, grid, model) if model else None,
        cases_without_consensus=tuple(
            case for case, grade in zip(grid.cases, consensus, strict=True) if grade == _NONE
        ),
        unit=grid.origins.unit,
    )


def _compare(first: Grades, second: Grades, origins: Origins) -> GradeAgreement:
    """Two gradings (cases,) over the cases that both have."""
    both = (first != _NONE) & (second != _NONE)
    return grade_agreement(first[both], second[both], origins[both])


def _mean_kappa(grid: _Grid) -> Estimate:
    compared = (grid.grades != _NONE).sum(0) >= 2
    bootstrap = grid.origins[compared].bootstrap()
    kappas = []
    for first, second in combinations(grid.grades[:, compared], 2):
        both = (first != _NONE) & (second != _NONE)
        tables = cross_tables(first, second, GRADES) * both[:, None, None]
        kappa = quadratic_kappa(bootstrap.sums(tables))
        if np.isfinite(kappa[0]):
            kappas.append(kappa)
    if not kappas:
        return Estimate(None, reason=NO_PAIR)
    return bootstrap.estimate(np.mean(kappas, axis=0), NO_PAIR)


def _with_model(
    reader: str, grades: Grades, grid: _Grid, model: Mapping[Case, ModelValue]
) -> ReaderAndModel:
    values = [model.get(case) for case in grid.cases]
    most = [
        _NONE if value is None or value.grade_of_most_area is None else value.grade_of_most_area
        for value in values
    ]
    expected = np.array([np.nan if value is None else value.expected_grade for value in values])
    both = (grades != _NONE) & np.isfinite(expected)
    return ReaderAndModel(
        reader,
        _compare(grades, np.array(most), grid.origins),
        bland_altman((expected - grades)[both], grid.origins[both]),
    )
