"""A model's value of a slide or a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_hmkd.grade_tables import grade_of_most


@dataclass(frozen=True, slots=True)
class ModelValue:
    """What a model says about a slide or a region, by area of tiles: no ASCO/CAP score.

    Attributes
    ----------
    expected_grade : float
        Mean expected grade of the tiles, weighted by their tissue, in [0, 3].
    grade_of_most_area : int or None
        The grade that most of the tissue has, 0 to 3; None where two have the same area.
    """

    expected_grade: float
    grade_of_most_area: int | None

    @classmethod
    def by_area(cls, expected_grade: float, area_mm2: Sequence[float]) -> ModelValue:
        """The value of tissue whose area per grade is known."""
        return cls(expected_grade, grade_of_most(area_mm2))
