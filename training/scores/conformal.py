"""Sets of grades by class-conditional split conformal prediction.

Mondrian categories are the grades (Vovk, ACML 2012); the score is 1 - p_k (LAC: Sadinle et al.,
JASA 2019). What share of sets holds the label is observed on a test split, and may differ on
other tissue: tiles of a patient are not exchangeable with another's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.training.tiles import GRADES


def conformal_threshold(probabilities: NDArray[np.floating], level: float) -> float:
    """The probability of a grade from which on the grade belongs to a tile's set.

    The ceil((n + 1) level)-th highest probability that n calibration tiles of this grade gave it;
    0, so that the grade is in every set, where n is too small for that.

    Parameters
    ----------
    probabilities : (n,)
        Calibrated probabilities of the true grade, of tiles of this grade.
    level : float
        Share of sets that shall hold the true grade, above 0 and below 1.
    """
    # The small number undoes rounding: 0.9 * 10 must not become the 10th.
    rank = math.ceil((len(probabilities) + 1) * level - 1e-9)
    if rank > len(probabilities):
        return 0.0
    return float(np.sort(probabilities)[::-1][rank - 1])


def fewest_tiles(level: float) -> int:
    """The fewest calibration tiles of a grade with which its threshold can be above 0."""
    return math.ceil(level / (1 - level) - 1e-9)


def prediction_sets(
    probabilities: NDArray[np.floating], thresholds: tuple[float, ...]
) -> NDArray[np.bool_]:
    """(n, 4): which grades belong to each tile's set; a set can be empty.

    Parameters
    ----------
    probabilities : (n, 4)
        After temperature scaling.
    thresholds : 4 numbers
        `conformal_thresholds` of the model card.
    """
    if len(thresholds) != GRADES:
        raise ValueError(f"prediction sets need {GRADES} thresholds, got {len(thresholds)}")
    return np.asarray(probabilities) >= np.asarray(thresholds)
