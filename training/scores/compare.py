"""Runs side by side, with differences over the same patients."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.errors import DataError
from napari_hmkd.training.scores.bootstrap import (
    BOOTSTRAP_DRAWS,
    DECIMALS,
    ClusterBootstrap,
    Floats,
    clusters_of,
)
from napari_hmkd.training.scores.files import EVALUATION_FILE, PREDICTIONS_FILE
from napari_hmkd.training.scores.metrics import accuracy, confusion_per_tile, quadratic_kappa
from napari_hmkd.training.scores.predictions import Predictions, read_predictions
from napari_hmkd.training.scores.report import PART_NOTES, grader_scores
from napari_hmkd.training.tiles import RESEARCH_NOTICE, Tile

PAIRED_SCORES = {"kappa": quadratic_kappa, "accuracy": accuracy}
Grades = NDArray[np.integer]
_SEED_DRAWS = 7  # not the seed that draws patients


def paired(
    predicted: Mapping[str, Sequence[Grades]],
    truth: Grades,
    groups: Sequence[Hashable],
    reference: str | None = None,
    draws: int = BOOTSTRAP_DRAWS,
) -> dict[str, Any]:
    """Kappa and accuracy of several approaches, and their differences to one of them.

    A score is the mean over an approach's seeds. Each draw takes patients and, independently,
    seeds with replacement (pigeonhole bootstrap: Owen, Ann. Appl. Stat. 2007), so that intervals
    hold the spread over both. It takes the same patients for all approaches, and the same seeds
    for those with equally many: what is hard for all, and what approaches share by their seed
    (first weights, teacher), cancels in a difference. S seeds show only (S - 1) / S of their
    variance.

    Parameters
    ----------
    predicted : mapping of approach to one (n,) array of grades per seed
        In the same order of seeds; one array for what has no seed, such as the oracle.
    truth : (n,)
        Labels, 0 to 3.
    groups : (n,)
        What is drawn: patients.
    reference : str, optional
        The approach that is taken from every other; None for no differences.

    Returns
    -------
    dict
        `scores` of each approach and `differences` of each but the reference, both by name, with
        `kappa` and `accuracy` as `ClusterBootstrap.estimate` gives them; scores also with
        `per_seed`, the value of each seed.

    Raises
    ------
    ValueError
        If an approach has no seed, or the reference is none of them.
    """
    if reference is not None and reference not in predicted:
        raise ValueError(f"the reference {reference!r} is none of {', '.join(predicted)}")
    bootstrap = ClusterBootstrap(groups, draws)
    seeds = {name: _of_seeds(found, truth, bootstrap) for name, found in predicted.items()}
    drawn = {name: _means(values) for name, values in seeds.items()}
    return {
        "scores": {
            name: {
                key: estimate | {"per_seed": _rounded(seeds[name][key][:, 0])}
                for key, estimate in _estimates(values, bootstrap).items()
            }
            for name, values in drawn.items()
        },
        "differences": {
            name: _estimates(_less(values, drawn[reference]), bootstrap)
            for name, values in drawn.items()
            if reference not in (None, name)
        },
    }


def compare(runs: Sequence[Path]) -> dict[str, Any]:
    """Put runs side by side that graded the same tiles.

    Parameters
    ----------
    runs : sequence of Path
        Run folders, or folders of `evaluate`, of which all graders are taken.

    Returns
    -------
    dict
        `graders` with every score by name, `remarks` about the runs' splits, and `differences`: for each pair `a`, `b`, and `kappa`
        and `accuracy` of a less those of b.

    Raises
    ------
    DataError
        If a folder's predictions cannot be read, or their tiles, labels or patients differ.
    """
    folders = list(dict.fromkeys(runs))
    read = {folder: read_predictions(folder / PREDICTIONS_FILE) for folder in folders}
    if not read:
        raise DataError("nothing to compare: name at least one run folder")
    tiles, _ = read[folders[0]]
    for folder in folders[1:]:
        _require_same(folders[0], tiles, folder, read[folder][0])
    labelled = np.array([tile.grade is not None for tile in tiles], bool)
    if not labelled.any():
        raise DataError(f"{folders[0] / PREDICTIONS_FILE}: no tile has a label to compare by")
    chosen = [tile for tile in tiles if tile.grade is not None]
    truth = np.array([tile.grade for tile in chosen], np.intp)
    clusters = clusters_of(chosen)
    graders = {name: found.of(labelled) for name, found in _named(folders, read).items()}  # fmt: skip
    part, about = str(tiles[0].part), {folder: _about(folder) for folder in folders}
    notices = [str(said.get("notice") or RESEARCH_NOTICE) for said in about.values()]
    notes = [str(said.get("part_note") or PART_NOTES.get(part, "")) for said in about.values()]
    return {
        "notice": "; ".join(dict.fromkeys(notices)),
        "part": part,
        "part_note": "; ".join(dict.fromkeys(notes)),
        "remarks": [f"{folder}: {note}" for folder in folders for note in _remarks(about[folder])],
        "tiles": len(chosen),
        "tiles_without_label": len(tiles) - len(chosen),
        "patients": clusters.patients,
        "intervals": f"{clusters.sentence}; what another training seed would change is not in them",
        "graders": {
            name: grader_scores(found, truth, clusters.names) for name, found in graders.items()
        },
        "differences": _differences(graders, truth, clusters.names),
    }


def _of_seeds(
    seeds: Sequence[Grades], truth: Grades, bootstrap: ClusterBootstrap
) -> dict[str, Floats]:
    """(seeds, 1 + draws) of each score."""
    if not len(seeds):
        raise ValueError("an approach needs the grades of at least one seed")
    drawn = np.stack([bootstrap.sums(confusion_per_tile(truth, grades)) for grades in seeds])
    return {name: score(drawn) for name, score in PAIRED_SCORES.items()}


def _means(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """(1 + draws,) of each score: the mean of all seeds, then of those that each draw takes.

    What is drawn depends on the number of seeds alone, so that approaches with equally many share it.
    """
    found = {}
    for name, of_seeds in values.items():
        count, rows = of_seeds.shape
        picks = np.random.default_rng((_SEED_DRAWS, count)).integers(0, count, (rows, count))
        picks[0] = np.arange(count)
        found[name] = np.take_along_axis(of_seeds, picks.T, 0).mean(0)
    return found


def _rounded(values: Floats) -> list[float | None]:
    return [round(value, DECIMALS) if np.isfinite(value) else None for value in values.tolist()]


def _less(values: Mapping[str, Floats], other: Mapping[str, Floats]) -> dict[str, Floats]:
    return {name: values[name] - other[name] for name in values}


def _estimates(values: Mapping[str, Floats], bootstrap: ClusterBootstrap) -> dict[str, Any]:
    return {name: bootstrap.estimate(drawn) for name, drawn in values.items()}


def _differences(
    graders: Mapping[str, Predictions], truth: Grades, groups: Sequence[Hashable]
) -> list[dict[str, Any]]:
    bootstrap = ClusterBootstrap(groups)
    drawn = {
        name: _means(_of_seeds([found.grades], truth, bootstrap)) for name, found in graders.items()
    }
    return [
        {"a": a, "b": b, **_estimates(_less(drawn[a], drawn[b]), bootstrap)}
        for a, b in combinations(drawn, 2)
    ]


def _named(
    folders: Sequence[Path],
    read: Mapping[Path, tuple[list[Tile], dict[str, Predictions]]],
) -> dict[str, Predictions]:
    """Graders by folder, and by grader where a folder has several; by path where names repeat."""
    short = [folder.resolve().name for folder in folders]
    found = {}
    for folder, name in zip(folders, short, strict=True):
        title = name if short.count(name) == 1 else str(folder)
        graders = read[folder][1]
        for grader, predictions in graders.items():
            found[title if len(graders) == 1 else f"{title}:{grader}"] = predictions
    return found


def _require_same(first: Path, tiles: Sequence[Tile], second: Path, others: Sequence[Tile]) -> None:
    """Refuse runs that did not grade the same tiles; both are sorted by name."""
    names, other_names = ({tile.name for tile in side} for side in (tiles, others))
    if only := sorted(names ^ other_names):
        where = first if only[0] in names else second
        raise DataError(
            f"{first} and {second} graded different tiles: {len(only)} are in one of them alone, "
            f"e.g. {only[0]} in {where}. Evaluate both on the same data with `evaluate --out`"
        )
    for tile, other in zip(tiles, others, strict=True):
        for what in ("grade", "patient", "part"):
            here, there = getattr(tile, what), getattr(other, what)
            if here != there:
                raise DataError(
                    f"the tile {tile.name} has the {what} {here} in {first} and {there} in "
                    f"{second}: evaluate both with the same labels and split"
                )


def _about(folder: Path) -> dict[str, Any]:
    """What a run's evaluation.json says; nothing where there is none."""
    path = folder / EVALUATION_FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["notice"]  # every evaluation has one
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}): name a finished run") from error
    return found


def _remarks(about: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of a run's scores has to know about its split."""
    for key in ("split", "teacher_split"):
        if about.get(key):
            yield str(about[key])
    for leak in about.get("accepted_leaks", ()):
        yield f"a leak was accepted, scores may be too good: {leak}"
