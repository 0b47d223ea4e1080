"""A model's value of a slide or a region."""

from __future__ import annotations

from dataclasses import dataclass


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
