"""HER2 staining of single cells, and the grade that a field of them earns.

Criteria: ASCO/CAP 2018, affirmed 2023 (Wolff et al., J Clin Oncol 36:2105; Arch Pathol Lab Med
147:993), over invasive tumour cells only. Grades 0 and "ultralow" are joined, as in METHOD.md.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Staining(IntEnum):
    """Membrane staining of one tumour cell."""

    NONE = 0
    FAINT_INCOMPLETE = 1
    MODERATE_COMPLETE = 2
    INTENSE_COMPLETE = 3


# Share of tumour cells with each staining (columns) in tissue of each grade (rows).
STAINING_SHARES = np.array(
    [
        [0.960, 0.040, 0.000, 0.000],
        [0.480, 0.490, 0.030, 0.000],
        [0.150, 0.270, 0.540, 0.040],
        [0.050, 0.080, 0.220, 0.650],
    ]
)


def grade_of_cells(staining: NDArray[np.integer]) -> int:
    """HER2 grade of a group of invasive tumour cells.

    Parameters
    ----------
    staining : (n,) integers of `Staining`
        One value per tumour cell; other cells do not count.

    Returns
    -------
    int
        0 to 3, or -1 where there is no tumour cell to judge.
    """
    if len(staining) == 0:
        return -1
    share = np.bincount(staining, minlength=4) / len(staining)
    if share[3] > 0.10:
        return 3
    if share[2] + share[3] > 0.10 or share[3] > 0:
        return 2
    if share[1] > 0.10:
        return 1
    return 0
