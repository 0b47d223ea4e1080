"""Train, validation, calibration and test: by patient where patients are known."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import SplitSettings
from napari_hmkd.training.tiles import Tile

Indices = NDArray[np.intp]
SPLIT_FILE = "split.csv"
NOT_BY_PATIENT = (
    "not a patient-level split: the data does not tell patients apart, so tiles of one slide can "
    "lie on both sides and scores are optimistic"
)
BY_PATIENT = "split by patient, stratified by grade"


@dataclass(frozen=True)
class Split:
    """Indices of tiles; `note` says what kind of split it is."""

    train: Indices
    validation: Indices
    calibration: Indices
    test: Indices
    note: str

    def parts(self) -> dict[str, Indices]:
        """The four parts by name."""
        names = ("train", "validation", "calibration", "test")
        return {name: getattr(self, name) for name in names}

    def write(self, path: Path, tiles: Sequence[Tile]) -> None:
        """One line per tile: tile, patient, grade, split."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("tile", "patient", "grade", "split"))
            for part, indices in self.parts().items():
                for tile in (tiles[i] for i in indices):
                    writer.writerow((tile.name, tile.patient or "", tile.grade, part))


def split_tiles(tiles: Sequence[Tile], settings: SplitSettings) -> Split:
    """Divide tiles; a test folder of the data is kept as the test part.

    Raises
    ------
    DataError
        If a part would be empty, or there is no training data.
    """
    given_test = np.array([i for i, t in enumerate(tiles) if t.part == "test"], dtype=np.intp)
    rest = np.array([i for i, t in enumerate(tiles) if t.part != "test"], dtype=np.intp)
    if not len(rest):
        raise DataError("all tiles are in a test folder: training needs HE/train and IHC/train")
    by_patient = all(tile.patient is not None for tile in tiles)
    whole, test = len(rest), given_test
    if not len(given_test) and settings.test_share:
        rest, test = _hold_out(tiles, rest, settings.test_share, settings.split_seed, by_patient)
    parts = []
    for share in (settings.calibration_share, settings.validation_share):
        # Shares are of the whole, and what is left is smaller than that.
        now = min(share * whole / len(rest), 0.5)
        rest, held = _hold_out(tiles, rest, now, settings.split_seed, by_patient)
        parts.append(held)
    calibration, validation = parts
    note = BY_PATIENT if by_patient else NOT_BY_PATIENT
    return Split(rest, validation, calibration, test, note)


def _hold_out(
    tiles: Sequence[Tile], indices: Indices, share: float, seed: int, by_patient: bool
) -> tuple[Indices, Indices]:
    """(kept, held out), both sorted, stratified by grade."""
    grades = np.array([tiles[i].grade for i in indices])
    if by_patient:
        patients = np.array([tiles[i].patient for i in indices])
        held = _held_patients(grades, patients, share, seed)
        return indices[~held], indices[held]
    try:
        kept, held = train_test_split(indices, test_size=share, random_state=seed, stratify=grades)
    except ValueError as error:
        raise DataError(
            f"{len(indices)} tiles cannot be divided with a share of {share:.2f} of each grade: "
            f"{error}. Give more tiles, or change the shares"
        ) from error
    return np.sort(kept), np.sort(held)


def _held_patients(
    grades: NDArray[np.integer], patients: NDArray[np.str_], share: float, seed: int
) -> NDArray[np.bool_]:
    """Mask of the tiles of the patients to hold out: the fold nearest to the share."""
    count = len(np.unique(patients))
    folds = min(max(round(1 / share), 2), count)
    if folds < 2:
        raise DataError(
            "one patient cannot be divided: train, validation, calibration and test need at least "
            "one patient each. Give more patients, or set a share to 0"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A grade with fewer tiles than folds is spread as far as it goes.
        warnings.filterwarnings("ignore", message="The least populated class")
        candidates = [held for _, held in splitter.split(grades, grades, patients) if len(held)]
    best = min(candidates, key=lambda held: abs(len(held) / len(grades) - share))
    mask = np.zeros(len(grades), bool)
    mask[best] = True
    return mask
