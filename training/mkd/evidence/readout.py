"""How much of a factor a straight line reads off an embedding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict

from napari_hmkd.grade_tables import Floats, ratio

_FOLDS = 10
_ALPHAS = np.logspace(-1, 5, 19)


def read_out(embedding: NDArray[np.floating], factors: Floats) -> Floats:
    """Factors of patients as ridge regression predicts them from the other folds' patients.

    The penalty of each factor is chosen within the folds that it is fitted on.

    Parameters
    ----------
    embedding : (n, d)
    factors : (n, factors)

    Returns
    -------
    (n, factors)
    """
    # One scale for all columns: one that is 0 in nearly all patients must not be blown up in the rest.
    scaled = embedding.astype(np.float64) / (np.std(embedding, dtype=np.float64) or 1.0)
    ridge = RidgeCV(_ALPHAS, alpha_per_target=True)
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(ridge, scaled, factors, cv=folds)


def r_squared(factor: Floats, predicted: Floats, weights: Floats) -> Floats:
    """(draws,): share of a factor's variance that is predicted, for (draws, n) weights of patients.

    Below 0 where the prediction is worse than the mean.
    """
    total = weights.sum(1)
    mean = ratio(weights @ factor, total)
    spread = weights @ factor**2 - total * mean**2
    return 1 - ratio(weights @ (factor - predicted) ** 2, spread)
