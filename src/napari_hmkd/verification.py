"""Grade a sample of a result folder's tiles again, and compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_hmkd.device import choose_device
from napari_hmkd.errors import OutputError
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.result_files import (
    ModelEntry,
    Overlap,
    Part,
    SlideEntry,
    Summary,
    Tile,
    read_result_files,
)
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.tile_grader import TileGrader

SAMPLE_TILES = 32
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference of a probability that another device of the same arithmetic may make."""

_AT_ONCE = 8


class _Slide(SlideEntry):
    path: str
    backend: str
    mpp_source: str
    fingerprint: str


class _Model(ModelEntry):
    sha256: str
    temperature: float


class _Key(Part):
    precision: Literal["float32", "bfloat16"]
    overlap: Overlap = 1


class _Summary(Summary):
    slide: _Slide
    model: _Model
    key: _Key


@dataclass(frozen=True)
class Verification:
    """What came of it.

    Attributes
    ----------
    tiles : int
        How many were graded again.
    largest_difference : float
        Of a probability.
    problems : tuple of str
        What does not agree, for people; empty where all does.
    """

    tiles: int
    largest_difference: float
    problems: tuple[str, ...]


def verify_results(
    folder: Path, slide_path: str | None = None, model: str = "demo", seed: int = 0
) -> Verification:
    """Check slide, model and up to 32 tiles, drawn at random, of what `write_results` wrote.

    Parameters
    ----------
    folder : pathlib.Path
        Of one slide's results.
    slide_path : str, optional
        Where the slide is now; where it was, if left out.
    model : str
        Name or file of the student.
    seed : int
        Of the sample.

    Raises
    ------
    OutputError
        If the folder's files are missing or damaged.
    SlideError, ModelError, DeviceError
        If slide or model cannot be opened, or a tile cannot be read.
    """
    summary, graded = _read(folder)
    student = open_model(model)
    said = summary["slide"]
    with open_slide(slide_path or said["path"], backend=said["backend"]) as opened:
        slide = opened.with_mpp(said["mpp"][0]) if said["mpp_source"] == "user" else opened
        problems = list(_differences(summary, slide, student))
        sample = np.random.default_rng(seed).permutation(len(graded))[:SAMPLE_TILES]
        tiles = [list(graded)[number] for number in sorted(sample.tolist())]
        again = _grade(slide, student, tiles, summary["key"])
    before = np.array([graded[tile] for tile in tiles])
    apart = np.abs(before - again).max(axis=1, initial=0.0)
    allowed = TOLERANCE[summary["key"]["precision"]]
    problems += [
        f"tile {row}, {column}: a probability differs by {difference:.3g}, more than {allowed:g}"
        for (row, column), difference in zip(tiles, apart, strict=True)
        if not difference <= allowed
    ]
    return Verification(len(tiles), float(apart.max(initial=0.0)), tuple(problems))


def _differences(summary: Mapping[str, Any], slide: Slide, student: OpenModel) -> list[str]:
    """Where slide and model are not those of the results."""
    pairs = (
        ("slide's fingerprint", summary["slide"]["fingerprint"], fingerprint(slide)),
        ("slide's pixel size", summary["slide"]["mpp"], list(slide.require_mpp())),
        ("model's SHA-256", summary["model"]["sha256"], student.sha256()),
        ("model's temperature", summary["model"]["temperature"], student.card.temperature),
    )
    return [
        f"the {what} is {found}, and the results say {said}"
        for what, said, found in pairs
        if said != found
    ]


def _grade(
    slide: Slide, student: OpenModel, tiles: list[Tile], key: Mapping[str, Any]
) -> np.ndarray:
    grid = tile_grid(slide, student.card, key["overlap"])
    grader = TileGrader(student.network, student.card, choose_device(), key["precision"])
    answers = [
        grader.grade([read_tile(slide, grid, tile) for tile in tiles[start : start + _AT_ONCE]])
        for start in range(0, len(tiles), _AT_ONCE)
    ]
    return np.concatenate([np.empty((0, 4)), *(one.probabilities for one in answers)])


def _read(folder: Path) -> tuple[dict[str, Any], dict[Tile, list[float]]]:
    """The summary, and the probabilities of each graded tile."""
    found = read_result_files(folder, "verify", _Summary)
    if not len(found.tiles):
        raise OutputError(
            f"asked to verify the results in {folder}, but no tile in them is graded: name the folder of "
            "another slide"
        )
    tiles = [(row, column) for row, column in found.tiles.tolist()]
    graded = dict(zip(tiles, found.probabilities.tolist(), strict=True))
    return found.summary.model_dump(mode="json"), graded
