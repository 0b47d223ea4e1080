"""The one look at the test patients, and the table that comes of it."""

from __future__ import annotations

import csv
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hmkd.device import choose_device
from napari_hmkd.training.config import DataSettings, Labels, Method
from napari_hmkd.training.console import say
from napari_hmkd.training.data import PairDataset
from napari_hmkd.training.experiment.pieces import Place, validation_kappa, weights_of
from napari_hmkd.training.experiment.plan import SEEDS, Piece, Size, student
from napari_hmkd.training.graders import load_grader, predict_logits
from napari_hmkd.training.run import versions, write_json
from napari_hmkd.training.scores.compare import paired
from napari_hmkd.training.sources.procedural import ProceduralSource
from napari_hmkd.training.store import open_store

RESULTS = "results.json"
TABLE = "table.md"
GRADES = "test_grades.csv"
BATCH_SIZE = 32
Grades = NDArray[np.integer]


def score(size: Size, place: Place, chosen: Sequence[Piece]) -> None:
    """Grade the test patients with every finished network; write results, grades and table.

    Both kinds of labels are scored on the tiles' truth.
    """
    source = ProceduralSource(size.test_cohort, Labels.TILE)
    store = open_store(source, DataSettings(cache=place.tiles()))
    dataset = PairDataset(store, source.tiles, np.arange(len(source.tiles)))
    truth = np.array([tile.grade for tile in source.tiles])
    patients = [str(tile.patient) for tile in source.tiles]
    columns: dict[str, Grades] = {"oracle": source.oracle()}
    results: dict[str, Any] = {}
    for labels in Labels:
        rows = approaches(labels, chosen)
        found: dict[str, list[Grades]] = {"oracle": [columns["oracle"]]}
        for title, pieces in rows.items():
            found[title] = [_grades(piece, place, dataset) for piece in pieces]
            columns |= {p.name: grades for p, grades in zip(pieces, found[title], strict=True)}
        results[str(labels)] = {
            "validation_kappa": {
                title: [validation_kappa(piece, place) for piece in pieces]
                for title, pieces in rows.items()
            },
            "test": {
                reference: paired(found, truth, patients, reference=reference)
                for reference in ("student alone", "Hinton KD")
            },
        }
    about = _about(size, place, len(truth), len(set(patients)))
    _write_grades(place.folder / GRADES, [tile.name for tile in source.tiles], truth, columns)
    (place.folder / TABLE).write_text(table(results, about), encoding="utf-8")
    write_json(place.folder / RESULTS, {**about, **results})
    say(f"{place.folder / TABLE}")


def approaches(labels: Labels, chosen: Sequence[Piece]) -> dict[str, list[Piece]]:
    """Rows of the table: a title, and one piece for each seed."""
    rival, variant = (piece for piece in chosen if piece.labels is labels)

    def seeds(method: Method, name: str = "") -> list[Piece]:
        return [student(labels, seed, method, name) for seed in SEEDS]

    assert rival.method is not None
    return {
        "teacher": [Piece(labels, seed) for seed in SEEDS],
        "student alone": seeds(Method.NONE),
        "Hinton KD": seeds(Method.HINTON),
        f"{rival.approach} (best rival on validation)": seeds(rival.method),
        "HM-KD": seeds(Method.HMKD),
        f"{variant.approach} (best variant on validation)": seeds(Method.HMKD, variant.variant),
    }


def table(results: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Both halves of the experiment as one Markdown table."""
    lines = [
        f"{about['date']}, {about['hardware']}; {about['tiles']} test tiles of "
        f"{about['patients']} patients; mean over seeds {', '.join(map(str, SEEDS))}; "
        "95 % intervals over patients.",
        "",
        "| labels | approach | validation kappa of each seed | test kappa | test accuracy "
        "| kappa less student alone | kappa less Hinton KD |",
        "|---|---|---|---|---|---|---|",
    ]
    for labels, found in results.items():
        alone, hinton = found["test"]["student alone"], found["test"]["Hinton KD"]
        for title in alone["scores"]:
            validation = found["validation_kappa"].get(title, [])
            cells = (
                labels,
                title,
                " ".join(f"{kappa:.3f}" for kappa in validation),
                *(_cell(alone["scores"][title][key]) for key in ("kappa", "accuracy")),
                *(
                    _cell(side["differences"].get(title, {}).get("kappa"))
                    for side in (alone, hinton)
                ),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(scored: Mapping[str, Any] | None) -> str:
    if scored is None:
        return ""
    low, high = scored["interval_95"]
    return f"{scored['value']:.3f} ({low:.3f} to {high:.3f})"


def _grades(piece: Piece, place: Place, dataset: PairDataset) -> Grades:
    role = "teacher" if piece.method is None else "student"
    grader = load_grader(weights_of(piece.name, place), role)
    return predict_logits(grader, dataset, BATCH_SIZE, choose_device(place.device)).argmax(1)


def _about(size: Size, place: Place, tiles: int, patients: int) -> dict[str, Any]:
    gpu = place.device.startswith("cuda")
    cores = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": torch.cuda.get_device_name(place.device) if gpu else cores,
        "tiles": tiles,
        "patients": patients,
        "size": asdict(size),
        "versions": versions(),
    }


def _write_grades(
    path: Path, names: Sequence[str], truth: Grades, columns: Mapping[str, Grades]
) -> None:
    """Every network's grade of every test tile, so that other scores can be computed later."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("tile", "truth", *columns))
        writer.writerows(zip(names, truth, *columns.values(), strict=True))
