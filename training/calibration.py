"""Temperature scaling (Guo et al., ICML 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

TEMPERATURE_RANGE = (0.05, 20.0)


def fit_temperature(logits: NDArray[np.floating], grades: NDArray[np.integer]) -> float:
    """The temperature that minimises the cross entropy of softmax(logits / T), 0.05 to 20.

    Parameters
    ----------
    logits : (n, 4)
        Of tiles that neither trained the network nor picked its checkpoint.
    grades : (n,)
    """
    wide = logits.astype(np.float64)
    rows = np.arange(len(grades))

    def cross_entropy(log_temperature: float) -> float:
        return -float(log_softmax(wide / np.exp(log_temperature), axis=1)[rows, grades].mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURE_RANGE), method="bounded")
    return float(np.exp(found.x))
