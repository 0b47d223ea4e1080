"""Grade a sample of a result folder's tiles again, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from napari_hmkd.consistency import (
    CheckedSummary,
    not_recomputed,
    summary_problems,
    table_problems,
)
from napari_hmkd.device import choose_device
from napari_hmkd.errors import OutputError
from napari_hmkd.export.contents import changed_files
from napari_hmkd.export.request import outline_entries
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.model import ModelCard
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.regions import MarkedRegion, quoted
from napari_hmkd.result_files import (
    ModelEntry,
    Overlap,
    Part,
    ResultFiles,
    SlideEntry,
    Tile,
    read_result_files,
)
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.slide.backends.pixel_size import USER
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.tile_grader import TileGrader

SAMPLE_TILES = 32
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference of a probability that another device of the same arithmetic may make."""

_AT_ONCE = 8
_OTHERS = "the numbers of summary.json, as slide, model or regions are not those of the results"


class _Slide(SlideEntry):
    path: str
    backend: str
    mpp_source: str


class _Model(ModelEntry):
    sha256: str
    temperature: float


class _File(Part):
    sha256: str


class _Key(Part):
    precision: Literal["float32", "bfloat16"]
    overlap: Overlap


class _Summary(CheckedSummary):
    slide: _Slide
    model: _Model
    key: _Key
    files: dict[str, _File]


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
    not_recomputed : tuple of str
        Which numbers were not recomputed, and why, for people.
    """

    tiles: int
    largest_difference: float
    problems: tuple[str, ...]
    not_recomputed: tuple[str, ...]


def verify_results(
    folder: Path,
    slide_path: str | None = None,
    model: str = "demo",
    regions: Sequence[MarkedRegion] = (),
) -> Verification:
    """Check slide, model and up to 32 tiles, drawn at random, of what `write_results` wrote.

    Also that all files are as they were written, as `summary.json` lists them, and that its numbers and
    the columns of `tiles.csv` follow from the probabilities; see `summary_problems`.

    Parameters
    ----------
    folder : pathlib.Path
        Of one slide's results.
    slide_path : str, optional
        Where the slide is now; where it was, if left out.
    model : str
        Name or file of the student.
    regions : sequence of MarkedRegion
        Those that the results were made with, which do not hold their outlines; without them the
        regions' numbers are not recomputed.

    Raises
    ------
    OutputError
        If the folder's files are missing or damaged.
    SlideError, ModelError, DeviceError
        If slide or model cannot be opened, or a tile cannot be read.
    """
    found = _read(folder)
    summary, said = found.summary, found.summary.slide
    student = open_model(model)
    with open_slide(slide_path or said.path, backend=said.backend) as opened:
        slide = opened.with_mpp(said.mpp[0]) if said.mpp_source == USER else opened
        problems = _differences(summary, slide, student, regions)
        card = None if problems else student.card
        unknown = [_OTHERS] if card is None else not_recomputed(summary, regions)
        problems += _wrong_numbers(folder, found, slide, card, regions)
        sample = np.random.default_rng(0).permutation(len(found.tiles))[:SAMPLE_TILES]
        chosen = np.sort(sample)
        tiles = [(row, column) for row, column in found.tiles[chosen].tolist()]
        again = _grade(slide, student, tiles, summary.key)
    apart = np.abs(found.probabilities[chosen] - again).max(axis=1, initial=0.0)
    allowed = TOLERANCE[summary.key.precision]
    problems += [
        f"tile {row}, {column}: a probability differs by {difference:.3g}, more than {allowed:g}"
        for (row, column), difference in zip(tiles, apart, strict=True)
        if not difference <= allowed
    ]
    return Verification(len(tiles), float(apart.max(initial=0.0)), tuple(problems), tuple(unknown))


def _differences(
    summary: _Summary, slide: Slide, student: OpenModel, regions: Sequence[MarkedRegion]
) -> list[str]:
    """Where slide, model and regions, if these are given, are not those of the results."""
    pairs = (
        ("slide's fingerprint", summary.slide.fingerprint, fingerprint(slide)),
        ("slide's pixel size", summary.slide.mpp, slide.require_mpp()),
        ("model's temperature", summary.model.temperature, student.card.temperature),
    )
    problems = [
        f"the {what} is {found}, and the results say {said}"
        for what, said, found in pairs
        if said != found
    ]
    if student.sha256() != summary.model.sha256:
        problems.append(
            f"the model's SHA-256 is {student.sha256()}, and the results say {summary.model.sha256}: name the file "
            f"of '{summary.model.name}' that they were made with as the model"
        )
    asked = summary.request.regions
    if regions and outline_entries(regions) != [one.model_dump() for one in asked]:
        problems.append(
            f"the regions given, {quoted(regions)}, are not those of the results, which are "
            f"{quoted(asked) or 'none'}: their names or their outlines differ"
        )
    return problems


def _wrong_numbers(
    folder: Path,
    found: ResultFiles[_Summary],
    slide: Slide,
    card: ModelCard | None,
    regions: Sequence[MarkedRegion],
) -> list[str]:
    """Which files are not as they were written, and which numbers in them do not follow from others.

    What follows from slide, model and regions is told only where they are those of the results: then
    the model's card is given.
    """
    listed = {name: one.model_dump() for name, one in found.summary.files.items()}
    try:
        problems = [f"{name} is not as it was written" for name in changed_files(folder, listed)]
        problems += table_problems(found)
        if card is not None:
            problems += summary_problems(folder, found, slide, card, regions)
    except OSError as error:
        raise OutputError(
            f"asked to verify the results in {folder}, but: {error}; grade the slide again "
            "(napari-hmkd-grade with --fresh)"
        ) from error
    return problems


def _grade(slide: Slide, student: OpenModel, tiles: list[Tile], key: _Key) -> np.ndarray:
    grid = tile_grid(slide, student.card, key.overlap)
    grader = TileGrader(student.network, student.card, choose_device(), key.precision)
    answers = [
        grader.grade([read_tile(slide, grid, tile) for tile in tiles[start : start + _AT_ONCE]])
        for start in range(0, len(tiles), _AT_ONCE)
    ]
    return np.concatenate([np.empty((0, 4)), *(one.probabilities for one in answers)])


def _read(folder: Path) -> ResultFiles[_Summary]:
    found = read_result_files(folder, "verify", _Summary)
    if not len(found.tiles):
        raise OutputError(
            f"asked to verify the results in {folder}, but no tile in them is graded: name the folder of "
            "another slide"
        )
    return found
