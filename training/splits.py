"""Train, validation, calibration and test: as the data gives them, else drawn, by patient where known."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import SplitSettings
from napari_hmkd.training.files import write_csv
from napari_hmkd.training.leaks import PictureDigests
from napari_hmkd.training.tiles import PARTS, Tile
from napari_hmkd.wording import GRADE_NAMES

Indices = NDArray[np.intp]
SPLIT_FILE = "split.csv"
TEACHER_SPLIT_FILE = "teacher_split.csv"
"""The split of the run that a student's teacher comes from, beside the student's own."""
TILE_COLUMNS = ("tile", "patient", "grade", "split")
DIGEST_COLUMNS = ("he_digest", "ihc_digest")
HELD_OUT = ("validation", "calibration", "test")
LEAST_GRADES = {"test": 0, "validation": 2, "calibration": 1}
"""How many grades a part is drawn for; 0: whatever it gets."""
UNLABELLED = -1
ATTEMPTS = 20
"""How often validation and calibration are drawn before data is said not to be divisible."""
SEED_STEP = 1_000_003
BY_PATIENT = "split by patient"
NOT_BY_PATIENT = (
    "not a patient-level split: the data does not tell patients apart, so tiles of one slide can "
    "lie on both sides and scores are optimistic"
)
SHARED_PATIENTS = (
    "not a patient-level split: the data gives tiles of one patient to more than one part, so "
    "scores are optimistic"
)


@dataclass(frozen=True)
class Split:
    """Indices of tiles, sorted; `note` says what kind of split it is."""

    train: Indices
    validation: Indices
    calibration: Indices
    test: Indices
    note: str

    def parts(self) -> dict[str, Indices]:
        """The four parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    def write(self, path: Path, tiles: Sequence[Tile], digests: Sequence[PictureDigests]) -> None:
        """One line per tile: tile, patient, grade, split, digests of H&E and IHC as hex digits.

        Cells are empty for what is unknown.

        Raises
        ------
        OutputError
            If the file cannot be written; none is left then.
        """
        rows = (
            (*cells, *(found.hex() if found else "" for found in digests[i]))
            for i, cells in self.cells(tiles)
        )
        write_csv(path, (*TILE_COLUMNS, *DIGEST_COLUMNS), rows)

    def cells(self, tiles: Sequence[Tile]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Index of each tile, part by part, and what the file's `TILE_COLUMNS` say of it."""
        for part, indices in self.parts().items():
            for i in indices.tolist():
                tile = tiles[i]
                grade = "" if tile.grade is None else str(tile.grade)
                yield i, (tile.name, tile.patient or "", grade, part)


def split_tiles(tiles: Sequence[Tile], settings: SplitSettings) -> Split:
    """Divide tiles; parts that the data names are kept, the missing ones are drawn.

    They are drawn from the tiles that the data gives to training or leaves open, stratified by
    grade and whole patients at a time: test as one of `settings.folds` or as a share, then
    validation and calibration as shares of all tiles outside a given test part. Of several ways to
    do so, one is taken that leaves each grade in training and puts two or more into validation, as
    kappa tells nothing of one grade. Tiles without a grade count as a stratum, tiles without a
    patient as patients of their own.

    Parameters
    ----------
    tiles : sequence of Tile
        All tiles of the data.
    settings : SplitSettings
        Shares, folds and the seed.

    Returns
    -------
    Split
        Four disjoint parts that hold every tile once; test is empty where its share is 0 and the
        data names none.

    Raises
    ------
    DataError
        If a part would be empty, a grade would be missing from training, validation would have
        one grade alone, or a fold one grade at most.
    """
    held = {part: _indices(tile.part == part for tile in tiles) for part in HELD_OUT}
    given = [part for part in HELD_OUT if len(held[part])]
    pool = _indices(tile.part not in HELD_OUT for tile in tiles)
    if not len(pool):
        raise DataError(
            f"no tiles are left to train on: the data gives all {len(tiles)} of them to "
            f"{', '.join(given)}. Add training tiles"
        )
    whole = len(tiles) - len(held["test"])
    if settings.folds:
        pool, held["test"] = _fold(tiles, pool, settings, given)
    elif "test" not in given and settings.test_share:
        share, seed, advice = settings.test_share, settings.split_seed, _advice(settings, given)
        pool, held["test"] = _share(tiles, pool, "test", share, seed, advice)
    pool, drawn = _held_out(tiles, pool, whole, settings, given)
    held |= drawn
    _require_grades(tiles, pool)
    _require_two_grades(tiles, held, given, settings)
    note = _note(tiles, [pool, *held.values()], given, settings)
    return Split(pool, **held, note=note)


def _indices(chosen: Iterable[bool]) -> Indices:
    return np.flatnonzero(np.fromiter(chosen, bool))


def _fold(
    tiles: Sequence[Tile], pool: Indices, settings: SplitSettings, given: Sequence[str]
) -> tuple[Indices, Indices]:
    """(kept, the fold to test on), both sorted."""
    if given:
        raise DataError(
            f"--folds tests each tile once, but the data gives its own {', '.join(given)}: leave "
            "out --folds, or leave the split open in a manifest"
        )
    folds = _folds(tiles, pool, settings.folds, settings.split_seed)
    if len(folds) < settings.folds:
        raise DataError(
            f"--folds {settings.folds} needs as many patients, and as many tiles of one grade: the "
            f"data is enough for {len(folds)}. Ask for fewer folds"
        )
    chosen = folds[settings.fold]
    return np.setdiff1d(pool, chosen), chosen


def _held_out(
    tiles: Sequence[Tile],
    pool: Indices,
    whole: int,
    settings: SplitSettings,
    given: Sequence[str],
) -> tuple[Indices, dict[str, Indices]]:
    """What is left to train on, and the parts that the data does not give.

    Drawn anew, with other seeds that follow from the split's, until training holds every grade and
    validation two of them.
    """
    reachable = _kinds(_grades(tiles, pool))
    best: tuple[tuple[int, int], Indices, dict[str, Indices]] | None = None
    for attempt in range(ATTEMPTS):
        seed = settings.split_seed + attempt * SEED_STEP
        left, held = _drawn(tiles, pool, whole, settings, given, seed)
        seen = _kinds(_grades(tiles, held["validation"])) if "validation" in held else reachable
        quality = _kinds(_grades(tiles, left)), min(seen, 2)
        if best is None or quality > best[0]:
            best = quality, left, held
        if quality == (reachable, min(reachable, 2)):
            break
    assert best is not None
    return best[1:]


def _drawn(
    tiles: Sequence[Tile],
    pool: Indices,
    whole: int,
    settings: SplitSettings,
    given: Sequence[str],
    seed: int,
) -> tuple[Indices, dict[str, Indices]]:
    """What is left of the pool after one draw of the parts that the data does not give."""
    held = {}
    # Validation first, as the harder one to find.
    for part, share in (
        ("validation", settings.validation_share),
        ("calibration", settings.calibration_share),
    ):
        if part not in given:
            # Shares are of the whole, and what is left is smaller than that.
            now = min(share * whole / len(pool), 0.5)
            pool, held[part] = _share(tiles, pool, part, now, seed, _advice(settings, given))
    return pool, held


def _advice(settings: SplitSettings, given: Sequence[str]) -> str:
    """What else to do, besides giving more tiles, where a part cannot be drawn."""
    test_is_drawn = settings.test_share and not settings.folds and "test" not in given
    return ", or set --test-share to 0" if test_is_drawn else ""


def _share(
    tiles: Sequence[Tile], pool: Indices, part: str, share: float, seed: int, advice: str
) -> tuple[Indices, Indices]:
    """(kept, held out), both sorted: the fold nearest to the share that costs training no grade.

    Where the part's `LEAST_GRADES` are above 0, of such folds one with the most grades, up to twice
    the share; above 1, larger folds are tried where it has fewer.
    """
    grades, least = _grades(tiles, pool), LEAST_GRADES[part]

    def kinds(held: Indices) -> tuple[int, int]:
        """How many grades training keeps, and how many the part gets."""
        inside = np.isin(pool, held)
        return _kinds(grades[~inside]), _kinds(grades[inside])

    def cost(held: Indices) -> tuple[int, bool, int, float]:
        left, found = kinds(held)
        off = abs(len(held) / len(pool) - share)
        return -left, off > share, -found if least else 0, off

    most = max(round(1 / share), 2)
    candidates: list[Indices] = []
    for count in range(most, 1, -1) if least > 1 else (most,):
        folds = _folds(tiles, pool, count, seed)
        if len(folds) < 2:
            raise DataError(
                f"no {part} part can be drawn: the {len(pool)} tiles that are left for it and for "
                "training are of one patient, or one of each grade, and cannot be divided. Give more "
                f"patients or tiles{advice}"
            )
        held = min(folds, key=cost)
        candidates.append(held)
        left, found = kinds(held)
        if left == _kinds(grades) and found >= min(least, left):
            break
    else:
        held = candidates[0]
    return np.setdiff1d(pool, held), held


def _kinds(grades: NDArray[np.int64]) -> int:
    """How many different grades there are; those without one are none."""
    return len(np.unique(grades[grades != UNLABELLED]))


def _folds(tiles: Sequence[Tile], pool: Indices, count: int, seed: int) -> list[Indices]:
    """The pool in `count` stratified folds, fewer where there are too few patients or tiles."""
    grades, groups = _grades(tiles, pool), _groups(tiles, pool)
    if groups is not None:
        count = min(count, int(groups.max()) + 1)
    return [pool[held] for held in stratified_folds(grades, groups, count, seed) if len(held)]


def stratified_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, count: int, seed: int
) -> list[Indices]:
    """The items of labels (n,) in `count` stratified folds, whole groups (n,) at a time.

    Folds are fewer where each label has fewer items; one can be empty where there are few groups.
    """
    count = min(count, int(np.unique(labels, return_counts=True)[1].max()))
    if count < 2:
        return [np.arange(len(labels))]
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = splitter(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A label with fewer items than folds is spread as far as it goes.
        warnings.filterwarnings("ignore", message="The least populated class")
        return [held for _, held in folds.split(labels, labels, groups)]


def _groups(tiles: Sequence[Tile], pool: Indices) -> NDArray[np.int64] | None:
    """A number for each patient, and for each tile without one; None where no patient is known."""
    owners = [(tiles[i].patient, None if tiles[i].patient else i) for i in pool]
    if all(patient is None for patient, _ in owners):
        return None
    number = {owner: place for place, owner in enumerate(dict.fromkeys(owners))}
    return np.array([number[owner] for owner in owners], np.int64)


def _grades(tiles: Sequence[Tile], indices: Indices) -> NDArray[np.int64]:
    grades = (tiles[i].grade for i in indices)
    return np.array([UNLABELLED if grade is None else grade for grade in grades], np.int64)


def _require_grades(tiles: Sequence[Tile], train: Indices) -> None:
    """Refuse labelled training tiles that lack a grade."""
    trained = set(_grades(tiles, train).tolist()) - {UNLABELLED}
    if not trained:
        return
    for grade, name in enumerate(GRADE_NAMES):
        if grade not in trained:
            there = sum(tile.grade == grade for tile in tiles)
            elsewhere = (
                ", smaller shares, or another --split-seed" if there else ": all four are needed"
            )
            raise DataError(
                f"no tile of grade {name} is left to train on; the data has {there} in all. Give "
                f"tiles of more patients with that grade{elsewhere}"
            )


def _require_two_grades(
    tiles: Sequence[Tile],
    held: Mapping[str, Indices],
    given: Sequence[str],
    settings: SplitSettings,
) -> None:
    """Refuse a validation part with one grade alone, and a test fold with one grade at most."""
    validation = held["validation"]
    found = set(_grades(tiles, validation).tolist())
    if len(found) == 1 and found != {UNLABELLED}:
        drawn = ", a larger --validation-share, or another --split-seed"
        advice = " to it, or leave it to be drawn" if "validation" in given else drawn
        raise DataError(
            f"all {len(validation)} validation tiles have the grade {GRADE_NAMES[found.pop()]}, and "
            f"kappa tells no epoch from another without a second one: give tiles of more patients{advice}"
        )
    labelled = any(tile.grade is not None for tile in tiles)
    if settings.folds and labelled and _kinds(_grades(tiles, held["test"])) < 2:
        raise DataError(
            "the fold to test on has one grade at most, so that nothing can be told apart in it: ask "
            "for fewer --folds, give more patients, or another --split-seed for all folds"
        )


def _note(
    tiles: Sequence[Tile], parts: Sequence[Indices], given: Sequence[str], settings: SplitSettings
) -> str:
    """What kind of split it is, in words for the run's record."""
    nameless = sum(tile.patient is None for tile in tiles)
    owners = [{tiles[i].patient for i in indices} for indices in parts]
    if nameless == len(tiles):
        said = [NOT_BY_PATIENT]
    elif nameless:
        said = [
            f"not known to be a patient-level split: {nameless} of {len(tiles)} tiles name no "
            "patient, so scores may be optimistic"
        ]
    elif sum(map(len, owners)) > len(set().union(*owners)):
        said = [SHARED_PATIENTS]
    else:
        said = [BY_PATIENT]
    if len(given) < len(HELD_OUT) and any(tile.grade is not None for tile in tiles):
        said.append("stratified by grade")
    if given:
        said.append(f"{', '.join(given)} as the data gives it")
    if settings.folds:
        said.append(f"test is fold {settings.fold} (from 0) of {settings.folds}")
    return "; ".join(said)
