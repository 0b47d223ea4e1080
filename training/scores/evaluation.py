"""Score finished networks on tiles of patients that nothing was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hmkd.device import choose_device
from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.model import ModelCard, find_model
from napari_hmkd.output_folder import is_there
from napari_hmkd.training.config import CohortSettings, ComputeSettings, StoredDataSettings
from napari_hmkd.training.console import tracked
from napari_hmkd.training.data import PairDataset
from napari_hmkd.training.files import make_folder, write_whole
from napari_hmkd.training.graders import load_grader, predict_logits
from napari_hmkd.training.parallel import in_threads
from napari_hmkd.training.run import write_json
from napari_hmkd.training.scores.files import EVALUATION_FILE, PAGE_FILE, PREDICTIONS_FILE
from napari_hmkd.training.scores.page import render_page
from napari_hmkd.training.scores.pictures import Picture
from napari_hmkd.training.scores.predictions import Predictions, write_predictions
from napari_hmkd.training.scores.report import PART_NOTES, report
from napari_hmkd.training.scores.selection import ChosenTiles, Selection, select_tiles
from napari_hmkd.training.sources.opening import kind_of_labels, open_source, resolve_labels
from napari_hmkd.training.sources.procedural import ProceduralSource
from napari_hmkd.training.splits import NOT_BY_PATIENT
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tiles import Tile, TileSource

HELD_OUT = "patients that neither trained, picked nor calibrated the models"
NOT_KNOWN_OTHERS = (
    "not known to be other patients: some tile that the models were fitted to names no patient, so "
    "scores may be optimistic"
)
NOT_CHECKED = (
    "whether the models, or their teachers, were fitted to these tiles was not checked: no split.csv "
    "beside the weights says so"
)


def write_evaluation(
    folder: Path | None,
    tiles: Sequence[Tile],
    logits: Mapping[str, NDArray[np.floating]],
    cards: Mapping[str, ModelCard],
    *,
    part: str,
    grades: Mapping[str, NDArray[np.integer]] | None = None,
    attention: Sequence[Picture] = (),
    **about: Any,
) -> dict[str, Any]:
    """Score graders, and write evaluation.json, evaluation.html and predictions.csv.

    Parameters
    ----------
    folder : Path or None
        A folder, made where it is missing; files of those names are replaced. None: nothing is written.
    tiles : n tiles
        Those without a label are graded, not scored.
    logits : mapping of grader to (n, 4)
        As the networks give them.
    cards : mapping of grader to its model card
        With temperature and conformal thresholds.
    part : {"train", "validation", "calibration", "test"}
        Which part of the split the tiles are.
    grades : mapping of grader to (n,), optional
        Graders that give no probabilities.
    attention : sequence of Picture
        For the page, see `attention_pictures`.
    **about
        More that a reader has to know, such as `data` and `split`.

    Returns
    -------
    dict
        What evaluation.json holds.

    Raises
    ------
    OutputError
        If the folder or a file cannot be written.
    """
    predictions = {name: Predictions(found) for name, found in (grades or {}).items()}
    predictions |= {name: Predictions.of_network(z, cards[name]) for name, z in logits.items()}
    found = report(tiles, predictions, cards, part=part, **about)
    if folder is not None:
        make_folder(folder)
        write_predictions(folder / PREDICTIONS_FILE, tiles, predictions, found["part"])
        write_whole(folder / PAGE_FILE, render_page(found, tiles, predictions, attention).encode())
        write_json(folder / EVALUATION_FILE, found)
    return found


def evaluate(
    data: str,
    graders: Mapping[str, Path],
    out: Path | None,
    cohort: CohortSettings,
    pixels: StoredDataSettings,
    compute: ComputeSettings,
    part: str = "test",
) -> dict[str, Any]:
    """Score networks, and the oracle where there is one, on one part of the data.

    Parameters
    ----------
    data : str
        What the command line takes as DATA.
    graders : mapping of role to file
        "teacher", "student" or both; one at least.
    out : Path or None
        A new folder for evaluation.json, evaluation.html and predictions.csv.
    part : {"train", "validation", "calibration", "test"}
        Tiles that a split beside the weights or the data itself puts there; tiles that neither
        knows are test tiles.

    Raises
    ------
    HmkdError
        If the input is bad; nothing has been written then.
    OutputError
        If `out` cannot be made, which is tried before anything is graded.
    """
    if out is not None:
        _require_new(out)
    if part not in PART_NOTES:
        raise DataError(f"--split must be one of {', '.join(PART_NOTES)}, got {part}")
    if not graders:
        raise DataError("nothing to score: name a student, a teacher or both")
    device = choose_device(compute.device)
    loaded = {role: load_grader(path, role) for role, path in graders.items()}
    source = open_source(data, cohort, pixels)
    for grader in loaded.values():
        grader.require_same_tiles(source)
    chosen = select_tiles(source, [find_model(path) for path in graders.values()], part)
    tiles = [source.tiles[i] for i in chosen.indices]
    if all(tile.grade is None for tile in tiles):
        raise DataError(f"none of the {len(tiles)} {part} tiles of {data} has a grade to score by")
    dataset = _dataset(source, chosen, pixels, len(loaded))
    if out is not None:
        make_folder(out)  # grading can take hours, which a disk that refuses would lose
    logits = {
        role: predict_logits(grader, dataset, compute.batch_size, device)
        for role, grader in loaded.items()
    }
    cards = {role: grader.card for role, grader in loaded.items()}
    oracle = {}
    if isinstance(source, ProceduralSource):
        oracle["oracle"] = source.oracle()[chosen.indices]
    labels = kind_of_labels(resolve_labels(data, pixels.labels), tiles)
    about = {"data": source.training_data, "labels": labels, **_about_split(tiles, chosen, part)}
    return write_evaluation(out, tiles, logits, cards, part=part, grades=oracle, **about)


def _require_new(out: Path) -> None:
    try:
        free = not is_there(out) or (out.is_dir() and not any(out.iterdir()))
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{out} cannot be looked into: {error}. Name a new folder with --out"
        ) from error
    if not free:
        raise OutputError(f"{out} exists and is not empty: name a new folder with --out")


def _dataset(
    source: TileSource, chosen: Selection, pixels: StoredDataSettings, readings: int
) -> PairDataset:
    """The chosen tiles; only they are decoded, unless a cache is shared with training runs.

    All are once: an unreadable picture would end hours of grading.
    """
    if pixels.cache is not None:
        return PairDataset(open_store(source, pixels), source.tiles, chosen.indices)
    few = ChosenTiles(source, chosen.indices)
    if chosen.decoded and readings == 1 and not source.renders:
        pixels = replace(pixels, memory_gb=0)
    store, every = open_store(few, pixels), np.arange(len(few.tiles))
    if not (chosen.decoded or source.renders):
        for _ in tracked(in_threads(store.read, every[:, None]), "Decoding pictures", len(every)):
            pass
    return PairDataset(store, few.tiles, every)


def _about_split(tiles: Sequence[Tile], chosen: Selection, part: str) -> dict[str, Any]:
    """What a reader has to know about the chosen tiles, and about their patients."""
    kind = HELD_OUT if part == "test" and chosen.checked else "by patient"
    if any(tile.patient is None for tile in tiles):
        kind = NOT_BY_PATIENT
    elif not chosen.patients_known:
        kind = NOT_KNOWN_OTHERS
    unchecked = {"part_note": NOT_CHECKED} if part == "test" and not chosen.checked else {}
    return {"split": kind, "tiles_of_other_parts": chosen.left_out, **unchecked}
