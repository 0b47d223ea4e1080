"""Score finished networks on tiles of patients that nothing was trained on."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.device import choose_device
from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.config import CohortSettings, ComputeSettings, DataSettings
from napari_hmkd.training.data import PairDataset
from napari_hmkd.training.graders import Grader, load_grader, predict_logits
from napari_hmkd.training.metrics import BOOTSTRAP_DRAWS, scores
from napari_hmkd.training.procedural import ProceduralSource
from napari_hmkd.training.run import versions, write_json
from napari_hmkd.training.sources import open_source
from napari_hmkd.training.splits import NOT_BY_PATIENT, SPLIT_FILE
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tiles import GRADE_NAMES, Tile

HELD_OUT = "patients that neither trained, picked nor calibrated the models"
NOT_CHECKED = (
    "by patient; whether one of them trained a model was not checked: its weights have no split.csv "
    "beside them"
)


def report(
    tiles: Sequence[Tile], predicted: Mapping[str, NDArray[np.integer]], **about: Any
) -> dict[str, Any]:
    """Scores of several graders of the same tiles, ready for JSON.

    The bootstrap draws patients, or tiles where patients are unknown, which makes the intervals
    too narrow; the report says which.
    """
    known = all(tile.patient is not None for tile in tiles)
    groups = [tile.patient if known else tile.name for tile in tiles]
    truth = np.array([tile.grade for tile in tiles])
    counts = np.bincount(truth, minlength=len(GRADE_NAMES)).tolist()
    unit = "patients" if known else "tiles (patients are unknown: too narrow)"
    return {
        **about,
        "tiles": len(tiles),
        "patients": len(set(groups)) if known else None,
        "tiles_per_grade": dict(zip(GRADE_NAMES, counts, strict=True)),
        "intervals": f"95 % percentile bootstrap over {unit}, {BOOTSTRAP_DRAWS} draws",
        "confusion_axes": "rows: label, columns: predicted; 0, 1+, 2+, 3+",
        "graders": {name: scores(truth, grades, groups) for name, grades in predicted.items()},
    }


def evaluate(
    data: str,
    graders: Mapping[str, Path],
    out: Path | None,
    cohort: CohortSettings,
    pixels: DataSettings,
    compute: ComputeSettings,
) -> dict[str, Any]:
    """Score networks, and the oracle where there is one, on a test folder or a whole cohort.

    Parameters
    ----------
    data : str
        A folder in BCI's layout, of which the test part is taken, or `procedural`.
    graders : mapping of role to file
        "teacher", "student" or both.
    out : Path or None
        A new JSON file for the report.

    Raises
    ------
    HmkdError
        If the input is bad; nothing has been written then.
    """
    if out is not None and out.exists():
        raise OutputError(f"{out} exists: name a new file with --out")
    device = choose_device(compute.device)
    loaded = {role: load_grader(path, role) for role, path in graders.items()}
    source = open_source(data, cohort, pixels.labels, parts=("test",))
    for grader in loaded.values():
        grader.require_same_tiles(source)
    checked = all([_refuse_seen(source.tiles, weights) for weights in graders.values()])
    dataset = PairDataset(open_store(source, pixels), source.tiles, np.arange(len(source.tiles)))
    predicted = {"oracle": source.oracle()} if isinstance(source, ProceduralSource) else {}
    for role, grader in loaded.items():
        logits = predict_logits(grader, dataset, compute.batch_size, device)
        predicted[role] = logits.argmax(1)
    found = report(
        source.tiles, predicted, **_about(source.training_data, source.tiles, loaded, checked)
    )
    if out is not None:
        write_json(out, found)
    return found


def _about(
    data: str, tiles: Sequence[Tile], graders: Mapping[str, Grader], checked: bool
) -> dict[str, Any]:
    """What a reader has to know about the numbers."""
    held_out = HELD_OUT if checked else NOT_CHECKED
    notices = dict.fromkeys(grader.card.notice for grader in graders.values())
    return {
        "notice": "; ".join(notice for notice in notices if notice),
        "data": data,
        "split": held_out if tiles[0].patient is not None else NOT_BY_PATIENT,
        "models": {role: asdict(grader.card) for role, grader in graders.items()},
        "versions": versions(),
    }


def _refuse_seen(tiles: Sequence[Tile], weights: Path) -> bool:
    """Refuse patients (or tiles) that the run beside the weights has used; False if none is there."""
    split = weights.with_name(SPLIT_FILE)
    if not split.is_file():
        return False
    with split.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
    used = {row["patient"] or row["tile"] for row in rows}
    seen = {tile.patient or tile.name for tile in tiles} & used
    if seen:
        raise DataError(
            f"{len(seen)} of the patients or tiles to be scored were used to train {weights} (see "
            f"{split}), e.g. {min(seen)}: score others, e.g. with another --cohort-seed"
        )
    return True
