"""Groups of runs, seeds or folds of one approach, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.errors import DataError
from napari_hmkd.training.scores.bootstrap import clusters_of
from napari_hmkd.training.scores.compare import about_runs
from napari_hmkd.training.scores.files import PREDICTIONS_FILE
from napari_hmkd.training.scores.paired import Grades, paired
from napari_hmkd.training.scores.predictions import read_predictions
from napari_hmkd.training.tiles import Tile

Graded = dict[str, tuple[Tile, int]]
"""Tile and grade given, by the tile's name."""


def read_groups(named: Sequence[str]) -> dict[str, list[Path]]:
    """Groups of runs from words such as `hmkd=runs/h0,runs/h1`.

    Raises
    ------
    DataError
        If a group has no name, shares it with another, or names no folder between two commas.
    """
    groups: dict[str, list[Path]] = {}
    for word in named:
        name, equals, runs = word.partition("=")
        folders = runs.split(",")
        if not equals:
            raise DataError(f"{word} is among groups, but has no name: write NAME={word}")
        if not name:
            raise DataError(f"{word} has no name before =: write NAME=RUN,RUN,...")
        if not all(folders):
            raise DataError(f"{word} names no run, or has a comma too many: write NAME=RUN,RUN,...")
        if name in groups:
            raise DataError(
                f"two groups are called {name}: put their runs into one, {name}=RUN,RUN,..., or "
                "give them two names"
            )
        groups[name] = [Path(folder) for folder in folders]
    return groups


def compare_groups(groups: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Kappa and accuracy of groups of runs, less those of the first group.

    Runs of a group that graded the same tiles are seeds: a score is their mean, and its interval
    holds their spread, too. Runs that share no tile are folds: their tiles are put together, the
    first run of each fold with the first of the others.

    Parameters
    ----------
    groups : mapping of name to run folders
        Each run with one grader.

    Returns
    -------
    dict
        `reference`, the first group; `scores` and `differences` as `paired` gives them; and what a
        reader has to know, as in `compare`.

    Raises
    ------
    DataError
        If predictions cannot be read, a group has a run twice, runs of a group overlap in part or are
        over several parts of the data, folds have unequal numbers of seeds, or runs differ in the
        labels or patients of a tile, groups also in their tiles.
    """
    seeds = {name: _seeds(name, runs) for name, runs in groups.items()}
    first, *others = (
        {key: tile for key, (tile, _) in found[0].items()} for found in seeds.values()
    )
    reference, *names = seeds
    for name, tiles in zip(names, others, strict=True):
        if tiles != first:
            raise DataError(
                f"the groups {reference} and {name} graded different tiles, or the same with other "
                "labels or patients: compare runs over the same data and the same folds"
            )
    labelled = [tile for tile in first.values() if tile.grade is not None]
    if not labelled:
        raise DataError(f"no tile of {reference} has a label to compare by")
    clusters = clusters_of(labelled)
    predicted: dict[str, list[Grades]] = {
        name: [np.array([found[tile.name][1] for tile in labelled]) for found in runs]
        for name, runs in seeds.items()
    }
    truth = np.array([tile.grade for tile in labelled])
    return {
        **about_runs([run for runs in groups.values() for run in runs], labelled[0].part),
        "reference": reference,
        "tiles": len(labelled),
        "tiles_without_label": len(first) - len(labelled),
        "patients": clusters.patients,
        "intervals": f"{clusters.sentence}; {_spread(seeds.values())}",
        **paired(predicted, truth, clusters.names, reference),
    }


def _spread(groups: Iterable[Sequence[Graded]]) -> str:
    """What the intervals hold of the spread over training seeds."""
    if all(len(found) > 1 for found in groups):
        return "and over the seeds of each group"
    return "what another training seed would change is not in those of groups with one"


def _seeds(name: str, runs: Sequence[Path]) -> list[Graded]:
    """The answers of a group, one for each seed, over the tiles of all its folds in one order."""
    folds: dict[frozenset[str], list[Graded]] = {}
    counted = Counter(run.resolve() for run in runs)
    if twice := [str(run) for run, count in counted.items() if count > 1]:
        raise DataError(
            f"the group {name} has {twice[0]} more than once, and a run is one seed: name it once"
        )
    graded = [_graded(run) for run in runs]
    _require_one_truth(name, [tile for found in graded for tile, _ in found.values()])
    for found in graded:
        folds.setdefault(frozenset(found), []).append(found)
    union = frozenset().union(*folds)
    if len(union) < sum(map(len, folds)):
        raise DataError(
            f"runs of the group {name} graded some tiles in common and others not: seeds of one test "
            "part, or folds that share no tile, belong into a group"
        )
    sizes = {len(found) for found in folds.values()}
    if len(sizes) > 1:
        raise DataError(f"the group {name} needs equally many runs of each fold, got {sizes}")
    joined = [{key: answer for fold in seed for key, answer in fold.items()}
              for seed in zip(*folds.values(), strict=True)]  # fmt: skip
    return [{key: found[key] for key in sorted(union)} for found in joined]


def _require_one_truth(name: str, tiles: Sequence[Tile]) -> None:
    """Refuse training tiles beside test tiles, and tiles that runs have different labels for."""
    parts = sorted({str(tile.part) for tile in tiles})
    if len(parts) > 1:
        raise DataError(
            f"runs of the group {name} graded tiles of several parts, {', '.join(parts)}: a group takes "
            "runs over one, see `evaluate --split`"
        )
    known: dict[str, Tile] = {}
    for tile in tiles:
        if known.setdefault(tile.name, tile) != tile:
            raise DataError(
                f"runs of the group {name} know the tile {tile.name} with other labels or patients: "
                "evaluate all with the same --labels and data"
            )


def _graded(run: Path) -> Graded:
    path = run / PREDICTIONS_FILE
    tiles, graders = read_predictions(path)
    if len(graders) != 1:
        raise DataError(
            f"{path} has several graders, {', '.join(graders)}: a group takes runs with one"
        )
    (answers,) = graders.values()
    return {t.name: (t, int(g)) for t, g in zip(tiles, answers.grades, strict=True)}
