"""Biomarkers of a slide from start to end: the one path of the button, the command line and the tests."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_hmkd.biomarkers.case_genes import CaseGenes
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.extraction import BagExtraction, EncodedBatch, start_extraction
from napari_hmkd.biomarkers.kept_features import MOST_KEPT_BYTES, KeptFeatures
from napari_hmkd.biomarkers.prediction import BiomarkerModel, Prediction, predict
from napari_hmkd.errors import OutputError
from napari_hmkd.planning import GradeSettings
from napari_hmkd.queueing import TileQueue
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.wording import BY_M, BY_P, counted, one_notice


@dataclass(slots=True, eq=False)
class SlideBiomarkers:
    """One slide whose biomarkers are being predicted. It may be run, stopped and run on.

    Attributes
    ----------
    extraction : BagExtraction
        Makes the slide's bag.
    model : BiomarkerModel
    kept : KeptFeatures or None
        Where features are kept for another time; in use until it has run to the end.
    genes : CaseGenes or None
        The slide's; None where no table was given.
    predictions : tuple of Prediction
        One for each target, when it has run to the end; else none.
    seconds : float
        Time spent in `run` so far.
    """

    extraction: BagExtraction
    model: BiomarkerModel
    kept: KeptFeatures | None = None
    genes: CaseGenes | None = None
    predictions: tuple[Prediction, ...] = ()
    seconds: float = 0.0

    def run(self, queue: TileQueue | None = None) -> Generator[EncodedBatch, None, None]:
        """Encode the tiles that remain, then judge the bag of all.

        Parameters
        ----------
        queue : TileQueue, optional
            Decides the order, as `BagExtraction.run` has it; nothing else depends on it.

        Raises
        ------
        DeviceError, ModelError, SlideError
            As `BagExtraction.run`, `BagExtraction.bag` and `predict`.
        """
        started = time.perf_counter()
        for batch in self.extraction.run(queue):
            self.seconds += time.perf_counter() - started
            yield batch
            started = time.perf_counter()
        device = str(self.extraction.runner.device)  # it may have run out of memory before
        self.predictions = predict(self.extraction.bag(), self.model, device, self.genes)
        if self.kept is not None:
            self.kept.end()
        self.seconds += time.perf_counter() - started

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results has to know, besides the notices."""
        missing = "" if self.genes is None else self.genes.missing
        of_genes = [f"{self.answered_by}: {missing}"] if missing else []
        if self.genes is not None and self.genes.warning:
            of_genes.append(self.genes.warning)
        unread = len(self.extraction.failed)
        lost = [f"{counted(unread, 'tile')} could not be read or encoded"] if unread else []
        return (*self.extraction.warnings, *of_genes, *lost)

    @property
    def answered_by(self) -> str:
        """Which network answers, and from what."""
        if self.genes is None or self.genes.missing:
            return BY_P
        return f"{BY_M} (row {self.genes.row} of {self.genes.file})"

    @property
    def notice(self) -> str:
        """The sentences that every output of model and encoder must carry."""
        cards = self.model.card, self.extraction.encoder.model.card
        return one_notice(*(card.notice for card in cards))

    def attention_map(self, prediction: Prediction) -> np.ndarray:
        """Relative attention of the tiles: float32 (rows, columns), NaN where there is no patch."""
        grid = self.extraction.plan.grid
        found = np.full((grid.rows, grid.columns), np.nan, np.float32)
        found[tuple(self.extraction.encoded_tiles().T)] = prediction.relative_attention
        return found


def start_biomarkers(
    slide: Slide,
    model: BiomarkerModel,
    encoder: Encoder,
    settings: GradeSettings,
    tissue: TissueMask | None = None,
    kept_in: Path | None = None,
    genes: CaseGenes | None = None,
) -> SlideBiomarkers:
    """Check slide, encoder and device, find the tissue, and get ready to run.

    Parameters
    ----------
    slide, encoder, settings, tissue
        As in `start_extraction`.
    model : BiomarkerModel
        Of bags by that encoder, see `encoder_of`.
    kept_in : pathlib.Path, optional
        Folder where features of slides are kept, see `KeptFeatures`; those of an earlier run are not
        made again.
    genes : CaseGenes, optional
        The slide's, for this model, see `open_genes`.

    Raises
    ------
    DeviceError, PixelSizeError, UnsuitableSlideError, SlideError
        As in `start_extraction`.
    """
    extraction = start_extraction(slide, encoder, settings, tissue)
    if kept_in is None:
        return SlideBiomarkers(extraction, model, genes=genes)
    kept = KeptFeatures(kept_in, slide.name, extraction.key)
    try:
        kept.begin(MOST_KEPT_BYTES)
    except OutputError as error:
        extraction.notes.append(kept.not_kept(error))
        return SlideBiomarkers(extraction, model, genes=genes)
    extraction.take_up(kept)
    return SlideBiomarkers(extraction, model, kept, genes)
