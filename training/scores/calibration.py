"""What the calibration part fits: a temperature (Guo et al., ICML 2017) and conformal thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from napari_hmkd.training.scores.conformal import conformal_threshold, fewest_tiles
from napari_hmkd.training.tiles import GRADES
from napari_hmkd.wording import GRADE_NAMES, counted

TEMPERATURE_RANGE = (0.05, 20.0)
_NEAR_BOUND = 1.001


@dataclass(frozen=True)
class Calibration:
    """What goes into the model card, and what a reader has to know about it.

    Attributes
    ----------
    temperature : float
        Logits are divided by it before softmax.
    level : float
        Share of prediction sets that shall hold the true grade.
    thresholds : tuple of 4 float, or none
        Per grade, the calibrated probability from which on it belongs to a tile's set.
    remarks : tuple of str
        Sentences about fits that could not be made well.
    """

    temperature: float
    level: float
    thresholds: tuple[float, ...]
    remarks: tuple[str, ...] = ()


def calibrate(
    logits: NDArray[np.floating], grades: NDArray[np.integer], level: float = 0.9
) -> Calibration:
    """Fit temperature and conformal thresholds on tiles kept apart for it.

    Parameters
    ----------
    logits : (n, 4)
        Of tiles that neither trained the network nor picked its checkpoint.
    grades : (n,)
        Labels; tiles with -1 have none and are left out.
    level : float
        Share of prediction sets that shall hold the true grade, above 0 and below 1.
    """
    labelled = np.asarray(grades) >= 0
    logits, grades = logits[labelled], grades[labelled]
    if not len(grades):
        remark = "no calibration tile has a label: temperature 1, and no conformal thresholds"
        return Calibration(1.0, level, (), (remark,))
    temperature = temperature_or_one(logits, grades)
    said: tuple[str, ...] = temperature_remarks(temperature)
    if _all_right(logits, grades):
        said = ("every calibration tile is graded right, which tells no temperature: it stays 1",)
    calibrated = probabilities(logits, temperature)
    of_grade = [calibrated[grades == grade, grade] for grade in range(GRADES)]
    thresholds = tuple(conformal_threshold(found, level) for found in of_grade)
    few = [
        f"grade {name} has {counted(len(found), 'calibration tile')}, and level {level:g} needs "
        f"{fewest_tiles(level)}: it belongs to every prediction set"
        for name, found in zip(GRADE_NAMES, of_grade, strict=True)
        if len(found) < fewest_tiles(level)
    ]
    return Calibration(temperature, level, thresholds, (*said, *few))


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """(n, 4) softmax(logits / temperature) in float64."""
    return softmax(logits.astype(np.float64) / temperature, axis=1)


def temperature_or_one(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """`fit_temperature`, but 1 where every answer is right.

    The smaller the temperature then, the smaller the cross entropy, without an end.
    """
    return 1.0 if _all_right(logits, labels) else fit_temperature(logits, labels)


def _all_right(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> bool:
    return bool((logits.argmax(1) == labels).all())


def fit_temperature(logits: NDArray[np.floating], grades: NDArray[np.integer]) -> float:
    """The temperature that minimises the cross entropy of softmax(logits / T), 0.05 to 20.

    Parameters
    ----------
    logits : (n, 4)
        At least one tile.
    grades : (n,)
        Labels, 0 to 3.
    """
    wide = logits.astype(np.float64)
    rows = np.arange(len(grades))

    def cross_entropy(log_temperature: float) -> float:
        return -float(log_softmax(wide / np.exp(log_temperature), axis=1)[rows, grades].mean())

    bounds = np.log(TEMPERATURE_RANGE)
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    # Bounds first: where many temperatures are equally good, the one at the bound shows it.
    return float(np.exp(min((*bounds, found.x), key=cross_entropy)))


def temperature_remarks(temperature: float, part: str = "calibration") -> tuple[str, ...]:
    """A sentence where the temperature lies at the end of its range, so that it fits nothing.

    Parameters
    ----------
    temperature : float
        As `fit_temperature` gives it.
    part : str
        The part of the data that it was fitted to.
    """
    low, high = TEMPERATURE_RANGE
    if temperature <= low * _NEAR_BOUND:
        why = "the network's scores lie too close together for its errors to be so few"
        return (f"the temperature is at its lower bound {low:g}: {why}",)
    if temperature * _NEAR_BOUND >= high:
        why = f"on the {part} part the network does no better than chance"
        return (f"the temperature is at its upper bound {high:g}: {why}",)
    return ()
