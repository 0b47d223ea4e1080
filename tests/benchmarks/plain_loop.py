"""Grading as one would write it in an afternoon: OpenSlide, Pillow and torch, one tile after the other.

It is the rival of the grading benchmarks. The tiles to grade and the network are given to it.
"""

from __future__ import annotations

import csv
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from openslide import OpenSlide
from PIL import Image

from napari_hmkd.device import device_of
from napari_hmkd.grading import OpenModel
from napari_hmkd.planning import tile_grid
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.loading.cache import TileCache
from napari_hmkd.tiling import TileGrid

BATCH = 8

Tiles = Sequence[tuple[int, int]]
"""Rows and columns."""


class Clock:
    """Seconds that threads spent in parts of the work, waiting for a core included.

    Attributes
    ----------
    seconds : Counter
        Of each part by its name, summed over threads.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done in a `with` block."""
        started = time.perf_counter()
        yield
        with self._lock:
            self.seconds[name] += time.perf_counter() - started

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""

        @wraps(function)
        def run(*arguments: Any, **more: Any) -> Any:
            with self.part(name):
                return function(*arguments, **more)

        return run


class PlainLoop:
    """A slide opened by OpenSlide, and a network.

    Parameters
    ----------
    path : Path
    grid : TileGrid
        Where tiles lie.
    model : OpenModel
        On its device already.
    clock : Clock
        Told of "read", "transform" and "infer".
    """

    def __init__(self, path: Path, grid: TileGrid, model: OpenModel, clock: Clock) -> None:
        self._slide, self._grid, self._model, self._clock = OpenSlide(path), grid, model, clock
        self._side_px = grid.tile_um / grid.slide_mpp[1]  # of a tile at level 0
        downsample = self._side_px / grid.tile_px
        self._level = self._slide.get_best_level_for_downsample(downsample)

    def grade(self, tiles: Tiles) -> np.ndarray:
        """Probabilities of tiles: float32 (n, 4)."""
        starts = range(0, len(tiles), BATCH)
        return np.concatenate([self._batch(tiles[start : start + BATCH]) for start in starts])

    @torch.inference_mode()
    def _batch(self, tiles: Tiles) -> np.ndarray:
        network, card = self._model.network, self._model.card
        pixels = torch.from_numpy(np.stack([self._read(tile) for tile in tiles]))
        pixels = pixels.to(device_of(network))
        with self._clock.part("infer"):
            logits = network(card.normalise(pixels)).logits
            if logits.is_cuda:
                torch.cuda.synchronize()
        return torch.softmax(logits / card.temperature, dim=1).cpu().numpy()

    def _read(self, tile: tuple[int, int]) -> np.ndarray:
        """A tile: uint8 (tile_px, tile_px, 3), black beyond the slide."""
        y, x = self._grid.origins(tile)[0]
        length = round(self._side_px / self._slide.level_downsamples[self._level])
        size, side = (length, length), (self._grid.tile_px, self._grid.tile_px)
        with self._clock.part("read"):
            region = self._slide.read_region((round(x), round(y)), self._level, size).convert("RGB")
        with self._clock.part("transform"):
            # The quickest of Pillow's filters that leave no pixel out, and the one nearest to ours.
            return np.asarray(region if size == side else region.resize(side, Image.Resampling.BOX))

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()


def first_grades_s(path: Path, model: OpenModel) -> float:
    """Seconds that opening a slide and grading a batch of its middle take a plain loop."""
    with open_slide(path, cache=TileCache()) as slide:
        grid = tile_grid(slide, model.card)
        middle = (slide.size.height / 2, slide.size.width / 2)
    nearest = grid.nearest_first(grid.tiles(), middle)[:BATCH].tolist()
    started = time.perf_counter()
    loop = PlainLoop(path, grid, model, Clock())
    loop.grade([(row, column) for row, column in nearest])
    seconds = time.perf_counter() - started
    loop.close()
    return seconds


def write_csv(path: Path, tiles: Tiles, probabilities: np.ndarray) -> None:
    """A row for each tile."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "column", "p_0", "p_1", "p_2", "p_3"])
        writer.writerows([*tile, *p] for tile, p in zip(tiles, probabilities.tolist(), strict=True))
