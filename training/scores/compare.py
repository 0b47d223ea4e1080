"""Runs side by side, with differences over the same patients."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.errors import DataError
from napari_hmkd.training.scores.bootstrap import PatientBootstrap, clusters_of
from napari_hmkd.training.scores.files import EVALUATION_FILE, PREDICTIONS_FILE
from napari_hmkd.training.scores.paired import Grades, estimates, less, means, of_seeds
from napari_hmkd.training.scores.predictions import Predictions, read_predictions
from napari_hmkd.training.scores.report import PART_NOTES, grader_scores, told_once
from napari_hmkd.training.tiles import Tile
from napari_hmkd.wording import RESEARCH_ONLY


def compare(runs: Sequence[Path]) -> dict[str, Any]:
    """Put runs side by side that graded the same tiles.

    Parameters
    ----------
    runs : sequence of Path
        Run folders, or folders of `evaluate`, of which all graders are taken.

    Returns
    -------
    dict
        `graders` with every score by name, `remarks` about the runs' splits and calibration, and
        `differences`: for each pair `a`, `b`, and `kappa` and `accuracy` of a less those of b.

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
    graders = {name: found.of(labelled) for name, found in _named(folders, read).items()}
    return {
        **about_runs(folders, tiles[0].part),
        "tiles": len(chosen),
        "tiles_without_label": len(tiles) - len(chosen),
        "patients": clusters.patients,
        "intervals": f"{clusters.sentence}; what another training seed would change is not in them",
        "graders": {
            name: grader_scores(found, truth, clusters.names) for name, found in graders.items()
        },
        "differences": _differences(graders, truth, clusters.names),
    }


def about_runs(folders: Sequence[Path], part: str | None) -> dict[str, Any]:
    """What a reader has to know of runs over one part of the data.

    Returns
    -------
    dict
        `notice`, `part`, `part_note`, and `remarks`, a sentence for each thing about a run's split or its
        models' calibration, behind the runs that it is about.

    Raises
    ------
    DataError
        If a run's evaluation.json cannot be read.
    """
    about = {folder: _about(folder) for folder in folders}
    notices = [str(said.get("notice") or RESEARCH_ONLY) for said in about.values()]
    notes = [
        str(said.get("part_note") or PART_NOTES.get(part or "", "")) for said in about.values()
    ]
    return {
        "notice": "; ".join(dict.fromkeys(notices)),
        "part": str(part),
        "part_note": "; ".join(dict.fromkeys(notes)),
        "remarks": told_once(
            {str(folder): _remarks(said) for folder, said in about.items()}, "all runs"
        ),
    }


def _differences(
    graders: Mapping[str, Predictions], truth: Grades, groups: Sequence[Hashable]
) -> list[dict[str, Any]]:
    bootstrap = PatientBootstrap(groups)
    drawn = {
        name: means(of_seeds([found.grades], truth, bootstrap)) for name, found in graders.items()
    }
    return [
        {"a": a, "b": b, **estimates(less(drawn[a], drawn[b]), bootstrap)}
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
    """What a reader of a run's scores has to know about its split, and about its models' calibration."""
    for key in ("split", "teacher_split"):
        if about.get(key):
            yield str(about[key])
    for leak in about.get("accepted_leaks", ()):
        yield f"a leak was accepted, scores may be too good: {leak}"
    graders = about.get("graders", {})
    for name, scored in graders.items():
        for remark in scored.get("remarks", ()):
            yield remark if len(graders) == 1 else f"{name}: {remark}"
