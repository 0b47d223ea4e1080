"""From a slide to its bag: the tissue's tiles, read ahead, through a frozen encoder."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from napari_hmkd.bags.bag import Bag
from napari_hmkd.biomarkers.attributes import bag_attributes, bag_name, patch_px
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.feature_store import FeatureStore
from napari_hmkd.device import choose_device, choose_precision
from napari_hmkd.errors import ModelError, OutputError, SlideError
from napari_hmkd.grading import result_key
from napari_hmkd.inference import (
    NO_ANSWER,
    FailedTile,
    Read,
    Tile,
    failed_reads,
    pixels_of,
    read_tiles,
)
from napari_hmkd.planning import GradePlan, GradeSettings, plan_grading
from napari_hmkd.queueing import TileQueue
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.tile_grader import SparingNetwork


@dataclass(frozen=True, slots=True, eq=False)
class EncodedBatch:
    """One step of an extraction.

    Attributes
    ----------
    tiles : numpy.ndarray
        (row, column) of the tiles that have features: int64 (n, 2).
    features : numpy.ndarray
        float32 (n, d), finite.
    failed : tuple of FailedTile
        Tiles that could not be read, or that the encoder could not answer.
    """

    tiles: np.ndarray
    features: np.ndarray
    failed: tuple[FailedTile, ...] = ()


class TileEncoder(SparingNetwork[np.ndarray]):
    """An encoder at work, sparing memory as `SparingNetwork` does."""

    def __init__(self, encoder: Encoder, device: torch.device, precision: str) -> None:
        super().__init__(encoder.model.network, partial(encoder.look, precision), device, precision)
        self._encoder = encoder

    def encode(self, tiles: list[np.ndarray]) -> np.ndarray:
        """Features of tiles, each uint8 (s, s, 3): float32 (n, d), in as many runs as memory asks for.

        Raises
        ------
        DeviceError
            If torch fails, or the CPU has no memory for a single tile.
        """
        return np.concatenate(self.in_parts(tiles))

    def answer_part(self, tiles: Sequence[np.ndarray]) -> np.ndarray:
        """Features of some tiles, in one run."""
        if not len(tiles):
            return np.empty((0, self._encoder.feature_dim), np.float32)
        return self._encoder.encode(tiles, self.precision, self._ask)


@dataclass(slots=True, eq=False)
class BagExtraction:
    """One slide being turned into a bag. It may be run, stopped and run on.

    Tiles are always encoded in the same batches, each of tiles that follow each other row by row, whatever
    was kept before and wherever the view is, so that every run ends with the same numbers.

    Attributes
    ----------
    plan : GradePlan
        Which tiles; its slide must stay open.
    encoder : Encoder
    runner : TileEncoder
        The encoder at work.
    key : dict
        All that a tile's features depend on (`result_key`).
    store : FeatureStore or None
        Where they are kept for another time.
    resumed_tiles : int
        How many of them were kept by an earlier run.
    failed : dict
        Tiles without features, by (row, column).
    notes : list of str
        What went otherwise than asked for, and ended nothing.
    """

    plan: GradePlan
    encoder: Encoder
    runner: TileEncoder
    key: dict[str, object]
    store: FeatureStore | None = None
    resumed_tiles: int = 0
    failed: dict[tuple[int, int], FailedTile] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _features: np.ndarray = field(init=False)
    _done: np.ndarray = field(init=False)
    _at: dict[tuple[int, int], int] = field(init=False)

    def __post_init__(self) -> None:
        """Make room for what comes."""
        tiles = self.plan.tiles
        self._features = np.empty((len(tiles), self.encoder.feature_dim), np.float32)
        self._done = np.zeros(len(tiles), dtype=bool)
        self._at = {(row, column): number for number, (row, column) in enumerate(tiles.tolist())}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the bag has to know, besides the encoder's notice."""
        return (*self.plan.warnings, *self.runner.notes, *self.notes)

    @property
    def tried_tiles(self) -> int:
        """How many tiles have features or have failed."""
        return int(self._done.sum()) + len(self.failed)

    @property
    def remaining(self) -> np.ndarray:
        """The tiles to be encoded, int64 (n, 2): all of each batch of which one is missing."""
        size = self.plan.settings.batch_size
        whole = np.minimum.reduceat(self._done, np.arange(0, len(self._done), size))
        return self.plan.tiles[~np.repeat(whole, size)[: len(self._done)]]

    def run(self, queue: TileQueue | None = None) -> Generator[EncodedBatch, None, None]:
        """Encode the tiles that remain; each batch is kept when it is yielded.

        Parameters
        ----------
        queue : TileQueue, optional
            Decides the order of batches, of which the one of its next tile comes next; it is filled here,
            and may be told where the view is at any time. Row by row, if left out.

        Raises
        ------
        DeviceError
            If torch fails otherwise than for want of memory on a device that is not the CPU.
        SlideStalledError
            If the file does not answer in time.
        """
        queue = queue or TileQueue()
        queue.fill(self.plan.grid, self.remaining)
        try:
            with closing(read_tiles(self.plan, self._in_batches(queue))) as reads:
                for first in reads:
                    batch = [first, *islice(reads, len(self._batch_of(first[0])) - 1)]
                    encoded = self._encoded(batch)
                    self._enter(encoded.tiles, encoded.features)
                    failed = self.failed | {(one.row, one.column): one for one in encoded.failed}
                    self.failed = {
                        at: one for at, one in failed.items() if not self._done[self._at[at]]
                    }
                    self._keep(encoded)
                    yield encoded
        finally:
            self.runner.rest()  # a window keeps it with its results

    def take_up(self, store: FeatureStore) -> None:
        """Enter what an earlier run kept, and keep there what comes; it ends nothing if that fails."""
        try:
            tiles, features = store.read()
        except OutputError as error:
            self.notes.append(store.not_kept(error))
        else:
            planned = np.array([tuple(tile) in self._at for tile in tiles.tolist()], dtype=bool)
            self._enter(tiles[planned], features[planned])
            self.store, self.resumed_tiles = store, int(planned.sum())

    def encoded_tiles(self) -> np.ndarray:
        """The tiles of `bag`, in its order: int64 (n, 2)."""
        return self.plan.tiles[self._done]

    def bag(self) -> Bag:
        """What has been encoded so far, row by row; its coordinates are the file's, as CLAM reads them.

        Raises
        ------
        SlideError
            If that is nothing.
        """
        if not self._done.any():
            first = next((one.message for one in self.failed.values()), "none was tried")
            raise SlideError(
                f"asked for the bag of {self.plan.slide.name}, but none of its {len(self._done)} tiles with tissue "
                f"has features; the first failed with: {first}; fetch the file again from where it came, or choose "
                "another encoder"
            )
        tiles, slide = self.encoded_tiles(), self.plan.slide
        return Bag(
            bag_name(slide.name),
            self._features[self._done],
            np.rint(self.plan.grid.origins(tiles) + slide.origin_px).astype(np.int64),
            patch_px(self.plan.grid),
            bag_attributes(self.plan, self.encoder, self.key, len(self._done) - len(tiles)),
        )

    def _in_batches(self, queue: TileQueue) -> Iterator[Tile]:
        """All tiles of the batch of each tile in a queue, once."""
        taken: set[Tile] = set()
        for tile in queue:
            if tile not in taken:
                batch = self._batch_of(tile)
                taken.update(batch)
                yield from batch

    def _batch_of(self, tile: Tile) -> list[Tile]:
        size = self.plan.settings.batch_size
        first = self._at[tile] // size * size
        return [(row, column) for row, column in self.plan.tiles[first : first + size].tolist()]

    def _encoded(self, batch: Sequence[Read]) -> EncodedBatch:
        failed, read = failed_reads(batch), pixels_of(batch)
        features = self.runner.encode(list(read.values()))
        answered = np.isfinite(features).all(axis=1)
        tiles = np.array(list(read), dtype=np.int64).reshape(-1, 2)
        failed += [FailedTile(row, column, NO_ANSWER) for row, column in tiles[~answered].tolist()]
        return EncodedBatch(tiles[answered], features[answered], tuple(failed))

    def _enter(self, tiles: np.ndarray, features: np.ndarray) -> None:
        if not len(tiles):
            return
        if features.shape[1] != self.encoder.feature_dim:
            raise ModelError(
                f"{self.encoder.name} gives {features.shape[1]} features instead of {self.encoder.feature_dim}; its "
                "weights belong to another network"
            )
        where = [self._at[row, column] for row, column in tiles.tolist()]
        self._features[where] = features
        self._done[where] = True

    def _keep(self, encoded: EncodedBatch) -> None:
        store = self.store
        if store is None:
            return
        try:
            store.add(encoded.tiles, encoded.features)
        except OutputError as error:
            self.store = None
            self.notes.append(store.not_kept(error))


def start_extraction(
    slide: Slide,
    encoder: Encoder,
    settings: GradeSettings,
    tissue: TissueMask | None = None,
    kept_in: Path | None = None,
) -> BagExtraction:
    """Check slide, encoder and device, find the tissue, and get ready to run.

    Parameters
    ----------
    slide : Slide
        An open slide.
    encoder : Encoder
    settings : GradeSettings
        Which tiles, in what batches and where.
    tissue : TissueMask, optional
        Where the slide's tissue was found or painted already: it is obeyed.
    kept_in : pathlib.Path, optional
        Folder where features are kept, in a file whose name begins with a dot; those of an earlier
        run are not made again.

    Raises
    ------
    DeviceError
        If the device or precision asked for is missing.
    PixelSizeError, UnsuitableSlideError, SlideError
        If the slide has no tissue or cannot be used; see `plan_grading`.
    """
    device = choose_device(settings.device)
    choose_precision(device, settings.precision)  # a wrong name is told before the work begins
    runner = TileEncoder(encoder, device, settings.precision)
    with runner.prepared(settings.batch_size, encoder.patch_px):
        plan = plan_grading(slide, encoder.model.card, settings, tissue)
        key = result_key(slide, plan.grid, encoder.model, settings)
    extraction = BagExtraction(plan, encoder, runner, key)
    if kept_in is not None:
        extraction.take_up(FeatureStore(kept_in, f".{slide.name}", key))
    return extraction
