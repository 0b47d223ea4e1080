"""Grading a slide from start to end: the one path of the button, the command line and the tests."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from napari_hmkd.device import choose_device, choose_precision, device_errors
from napari_hmkd.errors import ModelError, OutputError, SlideError
from napari_hmkd.heatmap import Heatmap
from napari_hmkd.inference import GradedBatch, grade_slide
from napari_hmkd.model import ModelCard, find_model, load
from napari_hmkd.planning import GradePlan, GradeSettings, plan_grading, with_regions
from napari_hmkd.queueing import TileQueue
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.result_store import ResultStore
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.tile_grader import TileGrader
from napari_hmkd.tiling import TileGrid
from napari_hmkd.wording import counted

# Grades come sooner; fewer at once are answered otherwise in the last bits. A GPU is not what is waited for:
# so many tiles are read at once.
_FIRST_TILES, _FIRST_TILES_OF_GPU = 4, 8


@dataclass(frozen=True, slots=True, eq=False)
class OpenModel:
    """A network in eval mode with its card, and the file both came from."""

    network: nn.Module
    card: ModelCard
    path: Path

    def sha256(self) -> str:
        """Hash of the weights' file, to name it beyond doubt in results."""
        return file_sha256(self.path)

    def move_to(self, device: str) -> OpenModel:
        """Itself, with the network on a device, named as `choose_device` takes it.

        Raises
        ------
        DeviceError
            If there is no such device, or it has no room.
        """
        place = choose_device(device)
        with device_errors(place):
            self.network.to(place)
        return self


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, reckoned once until it changes: weights can be gigabytes, and slides many."""
    about = path.stat()
    return _sha256(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=8)
def _sha256(path: Path, _changed_ns: int, _bytes: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_model(name: str | Path = "demo", role: str = "student") -> OpenModel:
    """Load a model by its registered name or its file.

    Parameters
    ----------
    name : str or pathlib.Path
        "demo", or a safetensors file with its card beside it.
    role : str
        "student" to grade, "teacher" to compare attention.

    Raises
    ------
    ModelError
        If there is no such model, it cannot be loaded, or it has another role.
    """
    path = find_model(name)
    network, card = load(path)
    if card.role != role:
        raise ModelError(
            f"asked for a {role}, but {path.name} is a {card.role}; a student grades from H&E alone, "
            "a teacher needs H&E and IHC: choose the other file"
        )
    return OpenModel(network, card, path)


@dataclass(slots=True, eq=False)
class SlideGrading:
    """One slide being graded by one model. It may be run, stopped and run on.

    Attributes
    ----------
    plan : GradePlan
        What is to be done; its slide must stay open.
    model : OpenModel
        The student.
    grader : TileGrader
        The student at work.
    heatmap : Heatmap
        The results so far.
    key : dict
        All that a tile's grade depends on (`result_key`).
    store : ResultStore or None
        Where they are kept for another time.
    resumed_tiles : int
        How many of them were kept by an earlier run.
    notes : list of str
        What went otherwise than asked for, and ended nothing.
    seconds : float
        Time spent in `run` so far.
    """

    plan: GradePlan
    model: OpenModel
    grader: TileGrader
    heatmap: Heatmap
    key: dict[str, object]
    store: ResultStore | None = None
    resumed_tiles: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def run(self, queue: TileQueue | None = None) -> Generator[GradedBatch, None, None]:
        """Grade the tiles not tried yet; each batch is on the heatmap when it is yielded.

        Parameters
        ----------
        queue : TileQueue, optional
            Decides the order; it is filled here, and may be told where the view is at any time. Row by
            row, if left out.

        Raises
        ------
        DeviceError
            If torch fails otherwise than for want of memory on a device that is not the CPU.
        ModelError
            If the network's answer is not four numbers a tile.
        SlideError
            At the end, if not one tile could be read and graded.
        """
        queue = queue or TileQueue()
        queue.fill(self.plan.grid, self.heatmap.remaining)
        started = time.perf_counter()
        with closing(grade_slide(self.plan, self.grader, queue, self._first_batch())) as batches:
            for batch in batches:
                self.heatmap.update(batch)
                self._keep(batch)
                self.seconds += time.perf_counter() - started
                yield batch
                started = time.perf_counter()
        self._require_a_grade()

    @property
    def device(self) -> torch.device:
        """Where the student runs now."""
        return self.grader.device

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results has to know, besides the model's notice."""
        unread = len(self.heatmap.failed)
        lost = [f"{counted(unread, 'tile')} could not be read or graded"] if unread else []
        return (*self.plan.warnings, *self.grader.notes, *self.notes, *lost)

    def mark(self, regions: Sequence[MarkedRegion]) -> None:
        """Sum up these regions from now on; which tiles are graded must not depend on them."""
        if self.plan.marked != tuple(regions):
            self.plan = with_regions(self.plan, regions)

    def take_up(self, store: ResultStore) -> None:
        """Enter what an earlier run kept, and keep there what comes; it ends nothing if that fails."""
        try:
            kept = self._planned(store.read())
        except OutputError as error:
            self.notes.append(store.not_kept(error))
        else:
            self.heatmap.update(kept)
            self.store, self.resumed_tiles = store, len(kept.tiles)

    def _first_batch(self) -> int:
        """Tiles of a run's first batch.

        A run that goes on has batches of its own size alone: the last one then holds the tiles that it
        would have held, and each tile is answered to the last bit as in a run that was not stopped.
        """
        most = self.plan.settings.batch_size
        begun = len(self.heatmap.remaining) < len(self.plan.tiles)
        first = _FIRST_TILES if self.device.type == "cpu" else _FIRST_TILES_OF_GPU
        return most if begun else min(first, most)

    def _planned(self, kept: GradedBatch) -> GradedBatch:
        """Those of the tiles that this plan grades: it may have other tissue."""
        planned = set(map(tuple, self.plan.tiles.tolist()))
        wanted = np.array([tuple(tile) in planned for tile in kept.tiles.tolist()], dtype=bool)
        evidence = None if kept.evidence is None else kept.evidence[wanted]
        return GradedBatch(kept.tiles[wanted], kept.probabilities[wanted], evidence=evidence)

    def _keep(self, batch: GradedBatch) -> None:
        store = self.store
        if store is None:
            return
        try:
            store.add(batch)
        except OutputError as error:
            self.store = None
            self.notes.append(store.not_kept(error))

    def _require_a_grade(self) -> None:
        failed = list(self.heatmap.failed.values())
        if failed and not self.heatmap.graded_tiles.any():
            raise SlideError(
                f"asked to grade {self.plan.slide.name}, but none of its {len(failed)} tiles with "
                f"tissue could be; the first failed with: {failed[0].message}; fetch the file again from "
                "where it came, or choose a model that was trained on such tissue"
            )


def make_ready(model: OpenModel, settings: GradeSettings) -> None:
    """Have a GPU load, plan and compile what a model's batches take, as the first slide would wait for it.

    Where the settings choose no GPU, nothing is done. Who leaves Python meanwhile waits for it.

    Raises
    ------
    DeviceError
        If the device or precision asked for is missing, or the GPU has no room for the network.
    """
    device = choose_device(settings.device)
    if device.type != "cuda":
        return
    grader = TileGrader(model.network, model.card, device, settings.precision)
    with grader.prepared(settings.batch_size, model.card.tile_px):
        grader.grade([])  # which waits for it
    grader.rest()


def start_grading(
    slide: Slide,
    model: OpenModel,
    settings: GradeSettings | None = None,
    tissue: TissueMask | None = None,
    regions: Sequence[MarkedRegion] = (),
    kept_in: Path | None = None,
) -> SlideGrading:
    """Check slide, model and device, find the tissue, and get ready to run.

    Parameters
    ----------
    slide : Slide
        An open slide.
    model : OpenModel
        A student.
    settings : GradeSettings, optional
        The defaults, if left out.
    tissue : TissueMask, optional
        Where the slide's tissue was found or painted already: it is obeyed.
    regions : sequence of MarkedRegion
        Parts to sum up by themselves, and to grade alone if `settings.only_regions`.
    kept_in : pathlib.Path, optional
        Folder where graded tiles are kept; those of an earlier run are not graded again. Nothing is
        kept, if left out.

    Raises
    ------
    DeviceError
        If the device or precision asked for is missing.
    PixelSizeError, UnsuitableSlideError, SlideError
        If the slide cannot be graded; see `plan_grading`.
    """
    settings = settings or GradeSettings()
    device = choose_device(settings.device)
    choose_precision(device, settings.precision)  # a wrong name is told before the work begins
    grader = TileGrader(model.network, model.card, device, settings.precision)
    with grader.prepared(settings.batch_size, model.card.tile_px):
        plan = plan_grading(slide, model.card, settings, tissue, regions)
        key = result_key(slide, plan.grid, model, settings)
    grading = SlideGrading(plan, model, grader, Heatmap(plan), key)
    if kept_in is not None:
        grading.take_up(ResultStore(kept_in, slide.name, key))
    return grading


def result_key(
    slide: Slide, grid: TileGrid, model: OpenModel, settings: GradeSettings
) -> dict[str, object]:
    """All that a tile's grade depends on, and so what its results are known again by."""
    return {
        "slide_fingerprint": fingerprint(slide),
        "slide_mpp": list(grid.slide_mpp),
        "backend": slide.backend,
        "model_sha256": model.sha256(),
        "card_sha256": hashlib.sha256(model.card.to_json().encode()).hexdigest(),
        "tile_px": grid.tile_px,
        "overlap": grid.overlap,
        "model_mpp": grid.model_mpp,
        "precision": choose_precision(choose_device(settings.device), settings.precision),
        "version": version("napari-hmkd"),
    }
