"""One slide's biomarkers predicted in the background of a viewer."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import napari.layers
import napari.viewer
import numpy as np

from napari_hmkd.biomarkers.case_genes import CaseGenes, open_genes
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.extraction import EncodedBatch
from napari_hmkd.biomarkers.feature_store import default_folder
from napari_hmkd.biomarkers.prediction import (
    BiomarkerModel,
    Prediction,
    encoder_of,
    open_biomarkers,
)
from napari_hmkd.biomarkers.slide import SlideBiomarkers, start_biomarkers
from napari_hmkd.errors import ModelError, UnsuitableSlideError
from napari_hmkd.model.timm_networks import PREFIX
from napari_hmkd.planning import GradeSettings, read_tile
from napari_hmkd.queueing import TileQueue, View
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.widgets.tile_run import TileRun

_SHOWN = 12  # patches of each target


@dataclass(frozen=True)
class BiomarkerRequest:
    """What is to be predicted, and how.

    Attributes
    ----------
    slide : Slide
    model : str
        Name or file of a biomarker model.
    encoder : pathlib.Path or None
        File of the encoder of its bags, weights if that is a network of timm; None for the demo's.
    settings : GradeSettings
    tissue : TissueMask or None
        None is found first.
    genes : pathlib.Path or None
        Table of genes for the model's M.
    case : str
        Whose they are; "" where the slide's name tells.
    """

    slide: Slide
    model: str
    encoder: Path | None
    settings: GradeSettings
    tissue: TissueMask | None = None
    genes: Path | None = None
    case: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TopPatches:
    """The patches with most attention for a target, the first the most.

    Attributes
    ----------
    target : str
    tiles : numpy.ndarray
        Their (row, column): int64 (n, 2).
    attention : numpy.ndarray
        As a multiple of an even share: float32 (n,).
    pictures : numpy.ndarray
        As the encoder saw them: uint8 (n, s, s, 3).
    """

    target: str
    tiles: np.ndarray
    attention: np.ndarray
    pictures: np.ndarray


Step = SlideBiomarkers | EncodedBatch | TopPatches | UnsuitableSlideError


class BiomarkerRun(TileRun):
    """Predicts the biomarkers of one slide layer at a time.

    What is encoded is kept on disk: a run that was stopped goes on there when it is started again. The
    result keeps its slide open, and is forgotten once the slide's layer is removed.

    Attributes
    ----------
    result : SlideBiomarkers or None
        The last one that ran to its end.
    patches : dict
        From the names of its targets to their `TopPatches`.

    Signals
    -------
    ended(complete)
        The worker has stopped; `complete` says whether there is a result and nothing failed.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.result: SlideBiomarkers | None = None
        self.patches: dict[str, TopPatches] = {}
        self._under_way: SlideBiomarkers | None = None
        self._encoded = 0

    def start(self, layer: napari.layers.Image, request: BiomarkerRequest, view: View) -> None:
        """Predict the biomarkers of a slide layer, what is in view first; not while another prediction runs."""
        if self.running:
            return
        what = f"predicting biomarkers of {request.slide.name}"
        self._begin_on(layer, TileQueue(view), what, _predict, request)

    def forget(self) -> None:
        """Let go of result and slide."""
        self.result = self._under_way = self.slide_layer = None
        self.patches = {}
        self.forgotten.emit()

    def _on_step(self, step: Step) -> None:
        if isinstance(step, UnsuitableSlideError):
            self._doubt(step)
        elif isinstance(step, SlideBiomarkers):
            self._take_up(step)
        elif isinstance(step, TopPatches):
            self.patches[step.target] = step
        else:
            self._encoded += len(step.tiles)
            self._tell()

    def _take_up(self, biomarkers: SlideBiomarkers) -> None:
        """The former result gives way to the one to come, unless that is not wanted any more."""
        if self.stopping:
            return
        self.forget()
        self._under_way, self.slide_layer = biomarkers, self._begun
        self._encoded = 0
        self.planned.emit(biomarkers, self.slide_layer)
        self._tell()

    def _tell(self) -> None:
        if self._under_way is None:
            return
        extraction, seconds = self._under_way.extraction, self._under_way.seconds
        # Not counted from the steps: the worker is ahead of them, by a batch even at the first.
        self.progressed.emit(
            extraction.tried_tiles,
            len(extraction.plan.tiles),
            self._encoded / seconds if seconds else 0.0,
        )

    def _on_finished(self) -> None:
        done, self._under_way, self._begun = self._under_way, None, None
        if done is not None and done.predictions:
            self.result = done
        else:
            self._failed = True
        super()._on_finished()

    def _on_layer_removed(self, event: Any) -> None:
        if event.value is self._begun:
            self.stop()
        if event.value is self.slide_layer:
            self.forget()


def _predict(
    request: BiomarkerRequest, queue: TileQueue, stop: Event
) -> Generator[Step, None, None]:
    """Open the models, plan, encode and judge: the plan, then its batches, then the patches of each target.

    Where the slide is unsuitable, the error is a step and not raised: that is a question to the user,
    no failure.
    """
    try:
        model = open_biomarkers(request.model)
        genes = _genes(model, request)
        biomarkers = start_biomarkers(
            request.slide,
            model,
            _encoder(model, request.encoder),
            request.settings,
            request.tissue,
            default_folder(),
            genes,
        )
    except UnsuitableSlideError as doubt:
        yield doubt
        return
    yield biomarkers
    if stop.is_set():
        return
    for batch in biomarkers.run(queue):
        yield batch
        if stop.is_set():
            return
    for prediction in biomarkers.predictions:
        yield _top_patches(biomarkers, prediction)


def _encoder(model: BiomarkerModel, file: Path | None) -> Encoder:
    if not model.card.encoder.startswith(PREFIX):
        return encoder_of(model, None if file is None else str(file))
    if file is None:
        raise ModelError(
            f"{model.card.name} judges bags of {model.card.encoder}, whose weights are not part of this "
            "program: choose their file as the encoder's"
        )
    return encoder_of(model, weights=file)


def _genes(model: BiomarkerModel, request: BiomarkerRequest) -> CaseGenes | None:
    if request.genes is None:
        return None
    source = open_genes(request.genes, model.path, model.card, request.case)
    return source.of_slide(request.slide.name)


def _top_patches(biomarkers: SlideBiomarkers, prediction: Prediction) -> TopPatches:
    top, plan = prediction.top(_SHOWN), biomarkers.extraction.plan
    tiles = biomarkers.extraction.encoded_tiles()[top]
    pictures = [read_tile(plan.slide, plan.grid, (row, column)) for row, column in tiles.tolist()]
    return TopPatches(
        prediction.target.name, tiles, prediction.relative_attention[top], np.stack(pictures)
    )
