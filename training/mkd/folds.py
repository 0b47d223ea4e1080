"""Cross-validation of cases by patient, with a validation part inside each fold's training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.config import FoldSettings
from napari_hmkd.training.splits import ATTEMPTS, SEED_STEP, Indices, stratified_folds

DEFAULTS = FoldSettings()
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """Disjoint, sorted indices of cases that hold all of them; no patient is in two parts."""

    train: Indices
    validation: Indices
    test: Indices

    def parts(self) -> dict[str, Indices]:
        """The three parts by name."""
        return dict(vars(self))


def nested_folds(
    cases: Sequence[Case], folds: int = DEFAULTS.folds, seed: int = DEFAULTS.fold_seed
) -> list[Fold]:
    """Divide cases so that each is tested once: 64/16/20 % of them at five folds.

    Each fold tests one of k parts, stratified by label and whole patients at a time, and validates
    on one of k such parts of the others. Parts are drawn up to `ATTEMPTS` times, with seeds that
    follow from the seed, until all folds can be used: each class in training, two in validation and
    in test. Of the parts to validate on, one with all classes is taken where there is one, then the
    one whose size is nearest to its share.

    Parameters
    ----------
    cases : sequence of Case
    folds : int
        At least 3, as `FoldSettings` asks for.
    seed : int
        Every run with this seed and these cases has the same folds.

    Raises
    ------
    DataError
        If there are too few patients, or a part has one class alone however it is drawn.
    """
    labels = np.array([case.label for case in cases], np.int64)
    _, owners = np.unique([case.patient for case in cases], return_inverse=True)
    _require_enough(labels, owners, folds)
    for attempt in range(ATTEMPTS):
        drawn = _drawn(labels, owners, folds, seed + attempt * SEED_STEP)
        problem = _problem(labels, drawn)
        if problem is None:
            return drawn
    raise DataError(
        f"of {len(labels)} cases {problem}, and {ATTEMPTS - 1} other draws are no better: training needs "
        "every class, and the other parts two. Ask for fewer folds, or give more patients of the "
        "rare class"
    )


def _drawn(labels: Numbers, owners: Numbers, folds: int, seed: int) -> list[Fold]:
    everything = np.arange(len(labels))
    found = []
    for test in stratified_folds(labels, owners, folds, seed):
        rest = np.setdiff1d(everything, test)
        parts = stratified_folds(labels[rest], owners[rest], folds, seed)
        candidates = [rest[part] for part in parts]

        def cost(part: Indices, share: float = len(rest) / folds) -> tuple[int, float]:
            return -len(np.unique(labels[part])), abs(len(part) - share)

        validation = min(candidates, key=cost)
        found.append(Fold(np.setdiff1d(rest, validation), validation, test))
    return found


def _require_enough(labels: Numbers, owners: Numbers, folds: int) -> None:
    patients = len(np.unique(owners))
    # Of the patients outside a test part, as many parts are made once more.
    least = -(-folds * folds // (folds - 1))
    most = int(np.bincount(labels).max(initial=0))
    if patients < least or most < folds:
        raise DataError(
            f"{folds} folds with validation need {least} patients and {folds} cases of one class: the "
            f"{len(labels)} cases are of {patients} patients, and {most} at most are of one class. Ask "
            "for fewer folds, or give more patients"
        )


def _problem(labels: Numbers, folds: Sequence[Fold]) -> str | None:
    """What keeps folds from being used."""
    classes = len(np.unique(labels))
    for number, fold in enumerate(folds):
        for name, part in fold.parts().items():
            found = np.unique(labels[part])
            if len(found) < (classes if name == "train" else 2):
                return (
                    f"the {name} part of fold {number} (from 0) of {len(folds)} has {len(part)}, of "
                    f"{len(found)} of the {classes} classes"
                )
    return None
