from __future__ import annotations

import numpy as np
import pytest

from napari_hmkd.sample.her2 import STAINING_SHARES, grade_of_cells


@pytest.mark.parametrize(
    ("none", "faint", "moderate", "intense", "grade"),
    [
        (100, 0, 0, 0, 0),  # null
        (90, 10, 0, 0, 0),  # ultralow: faint in at most 10 %
        (89, 11, 0, 0, 1),
        (50, 40, 10, 0, 1),
        (50, 39, 11, 0, 2),
        (99, 0, 0, 1, 2),  # complete and intense in at most 10 %
        (90, 0, 0, 10, 2),
        (89, 0, 0, 11, 3),
        (0, 0, 85, 15, 3),  # 15 % of cells suffice, whatever the rest
    ],
)
def test_grade_follows_the_asco_cap_shares(
    none: int, faint: int, moderate: int, intense: int, grade: int
) -> None:
    assert grade_of_cells(np.repeat(np.arange(4), [none, faint, moderate, intense])) == grade


def test_no_tumour_cell_is_no_grade() -> None:
    assert grade_of_cells(np.array([], dtype=int)) == -1


@pytest.mark.parametrize("grade", range(4))
def test_tissue_of_a_grade_earns_that_grade(grade: int) -> None:
    cells = np.random.default_rng(grade).choice(4, size=2000, p=STAINING_SHARES[grade])
    assert grade_of_cells(cells) == grade
