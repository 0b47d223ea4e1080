"""Grade a slide's tiles, one batch per step; tiles are read ahead while the network runs."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import nn

from napari_hmkd.device import device_errors, mixed_precision
from napari_hmkd.errors import ModelError, SlideReadError
from napari_hmkd.model import ModelCard
from napari_hmkd.planning import GradePlan, read_tile

GRADES = 4
_NO_ANSWER = "the network's answer is not finite: the tissue is unlike what it was trained on"

Read = np.ndarray | SlideReadError  # a tile's pixels, or why there are none


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
    """

    tiles: np.ndarray
    probabilities: np.ndarray
    failed: tuple[FailedTile, ...] = ()


def grade_slide(
    plan: GradePlan,
    student: nn.Module,
    device: torch.device,
    tiles: np.ndarray | None = None,
) -> Generator[GradedBatch, None, None]:
    """Grade tiles in the order given; close the iterator to stop, at once but for reads under way.

    Parameters
    ----------
    plan : GradePlan
        Of the slide, which must stay open.
    student : torch.nn.Module
        Takes normalised tiles (B, 3, s, s) and returns an object with `logits` (B, 4). It is moved
        to the device and to eval mode.
    device : torch.device
        Where to run it.
    tiles : numpy.ndarray, optional
        int (n, 2), which tiles and in which order; the plan's, row by row, if left out.

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
    tiles = plan.tiles if tiles is None else np.asarray(tiles, dtype=np.int64).reshape(-1, 2)
    with device_errors(device):
        student = student.to(device).eval()
    wanted = (partial(read_tile, plan.slide, plan.grid, (y, x)) for y, x in tiles.tolist())
    with closing(plan.slide.in_order(wanted, ahead=plan.settings.batch_size)) as reads:
        for start in range(0, len(tiles), plan.settings.batch_size):
            batch = tiles[start : start + plan.settings.batch_size]
            pixels, failed = _sort_out(batch, islice(reads, len(batch)))
            probabilities = grade_tiles(student, plan.card, list(pixels.values()), device)
            answered = ~np.isnan(probabilities).any(axis=1)
            read = np.array(list(pixels), dtype=np.int64).reshape(-1, 2)
            failed += tuple(FailedTile(r, c, _NO_ANSWER) for r, c in read[~answered].tolist())
            yield GradedBatch(read[answered], probabilities[answered], failed)


def grade_tiles(
    student: nn.Module, card: ModelCard, tiles: list[np.ndarray], device: torch.device
) -> np.ndarray:
    """Probabilities of the four grades for tiles, each uint8 (s, s, 3): float32 (n, 4).

    A tile that the network answers with NaN or infinity, as its unbounded attention can on tissue
    unlike its training's, has a row of NaN.

    Raises
    ------
    DeviceError
        If torch fails, for want of memory or otherwise.
    ModelError
        If the network's answer is not four numbers a tile.
    """
    if not tiles:
        return np.empty((0, GRADES), dtype=np.float32)
    with device_errors(device), torch.inference_mode(), mixed_precision(device):
        pixels = torch.from_numpy(np.stack(tiles)).to(device)
        logits = student(card.normalise(pixels)).logits.float().cpu()
    if logits.shape != (len(tiles), GRADES):
        raise ModelError(
            f"asked {card.name} to grade {len(tiles)} tiles; its answer has shape {tuple(logits.shape)} "
            f"instead of ({len(tiles)}, {GRADES}); the weights belong to another network"
        )
    answered = logits.isfinite().all(dim=1, keepdim=True)
    return torch.softmax(logits.where(answered, torch.nan) / card.temperature, dim=1).numpy()


def _sort_out(
    tiles: np.ndarray, reads: Iterator[Read]
) -> tuple[dict[tuple[int, int], np.ndarray], tuple[FailedTile, ...]]:
    """Part what was read from what was not."""
    pixels, failed = {}, []
    for (row, column), read in zip(tiles.tolist(), reads, strict=True):
        if isinstance(read, SlideReadError):
            failed.append(FailedTile(row, column, str(read)))
        else:
            pixels[row, column] = read
    return pixels, tuple(failed)
