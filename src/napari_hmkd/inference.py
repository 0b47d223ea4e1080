"""Grade a slide's tiles, one batch per step; tiles are read ahead while the network runs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.planning import GradePlan, read_tile
from napari_hmkd.tile_grader import TileGrader

NO_ANSWER = "the network's answer is not finite: the tissue is unlike what it was trained on"

Tile = tuple[int, int]
Read = tuple[Tile, np.ndarray | SlideReadError]
"""A tile, with its pixels or why there are none."""


@dataclass(frozen=True, slots=True)
class FailedTile:
    """A tile that could not be read or graded, and why."""

    row: int
    column: int
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class GradedBatch:
    """One step of grading.

    Attributes
    ----------
    tiles : numpy.ndarray
        The graded tiles' (row, column): int64 (n, 2); n is 0 where all of a batch failed.
    probabilities : numpy.ndarray
        Of grades 0, 1+, 2+, 3+, after the card's temperature: float32 (n, 4), rows sum to one.
    failed : tuple of FailedTile
        Tiles of this batch that could not be read, or that the network could not answer.
    evidence : numpy.ndarray or None
        Of the tiles' cells, float32 (n, k, k, 4); see `Answer`.
    """

    tiles: np.ndarray
    probabilities: np.ndarray
    failed: tuple[FailedTile, ...] = ()
    evidence: np.ndarray | None = None


def grade_slide(
    plan: GradePlan,
    grader: TileGrader,
    tiles: Iterable[Sequence[int]] | None = None,
    first: int | None = None,
) -> Generator[GradedBatch, None, None]:
    """Grade tiles in the order given; close the iterator to stop, at once but for reads under way.

    Parameters
    ----------
    plan : GradePlan
        Of the slide, which must stay open.
    grader : TileGrader
        The student at work.
    tiles : iterable of (row, column), optional
        Which tiles and in which order; the plan's, row by row, if left out. A tile is taken when there
        is room to read it, so that the order of the rest may still change.
    first : int, optional
        Tiles of the first batch, where that is to come sooner than others.

    Yields
    ------
    GradedBatch
        Of `plan.settings.batch_size` tiles.

    Raises
    ------
    SlideStalledError
        If the file does not answer in time; tiles that were not yielded have not failed.
    DeviceError
        If torch fails, for want of memory or otherwise.
    ModelError
        If the network's answer is not four numbers a tile.
    """
    size = plan.settings.batch_size
    try:
        with closing(read_tiles(plan, plan.tiles if tiles is None else tiles)) as reads:
            batch = list(islice(reads, first or size))
            while batch:
                yield _graded(grader, batch)
                batch = list(islice(reads, size))
    finally:
        grader.rest()  # a window keeps it with its results


def read_tiles(plan: GradePlan, tiles: Iterable[Sequence[int]]) -> Generator[Read, None, None]:
    """Tiles with their pixels, or why these cannot be read, in the order given; read a batch ahead."""
    wanted = (partial(_read, plan, (int(row), int(column))) for row, column in tiles)
    with closing(plan.slide.in_order(wanted, ahead=plan.settings.batch_size)) as reads:
        yield from reads


def failed_reads(batch: Sequence[Read]) -> list[FailedTile]:
    """Those of a batch that could not be read."""
    return [FailedTile(*tile, str(why)) for tile, why in batch if isinstance(why, SlideReadError)]


def pixels_of(batch: Sequence[Read]) -> dict[Tile, np.ndarray]:
    """Those of a batch that could be read."""
    return {tile: pixels for tile, pixels in batch if isinstance(pixels, np.ndarray)}


def _read(plan: GradePlan, tile: Tile) -> Read:
    try:
        return tile, read_tile(plan.slide, plan.grid, tile)
    except SlideStalledError:
        raise
    except SlideReadError as error:
        return tile, error


def _graded(grader: TileGrader, batch: Sequence[Read]) -> GradedBatch:
    failed, read = failed_reads(batch), pixels_of(batch)
    answer = grader.grade(list(read.values()))
    answered = ~np.isnan(answer.probabilities).any(axis=1)
    tiles = np.array(list(read), dtype=np.int64).reshape(-1, 2)
    failed += [FailedTile(row, column, NO_ANSWER) for row, column in tiles[~answered].tolist()]
    evidence = None if answer.evidence is None else answer.evidence[answered]
    return GradedBatch(tiles[answered], answer.probabilities[answered], tuple(failed), evidence)
