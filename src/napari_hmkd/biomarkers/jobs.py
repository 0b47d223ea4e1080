"""Many slides: each to its bag, and one slide's bad luck is not the others'."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile

from napari_hmkd.bags.bag import read_bag, write_bag
from napari_hmkd.biomarkers.attributes import (
    ENCODER,
    ENCODER_SHA256,
    FAILED,
    KEY,
    MIN_TISSUE,
    ORIGIN,
    bag_name,
)
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.extraction import BagExtraction, EncodedBatch, start_extraction
from napari_hmkd.errors import DataError, HmkdError, OutputError, unforeseen
from napari_hmkd.grading import result_key
from napari_hmkd.planning import GradeSettings, opened_as_stated, tile_grid
from napari_hmkd.slide import Slide
from napari_hmkd.slide.finding import find_slides
from napari_hmkd.wording import same_name

_LOG = logging.getLogger(__name__)
Watch = Callable[[BagExtraction], Iterable[EncodedBatch]]


class BagStatus(StrEnum):
    """What became of a slide."""

    WRITTEN = "written"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class BagJob:
    """One slide to be turned into a bag.

    Attributes
    ----------
    slide : str
        Path or address.
    path : pathlib.Path
        The bag's file.
    encoder : Encoder
    settings : GradeSettings
        Which tiles, in what batches and where.
    mpp : float or None
        Micrometres per pixel as the user states them.
    backend : str or None
        The back end to insist on.
    fresh : bool
        Make it anew where it is there already, and take up nothing that was kept.
    """

    slide: str
    path: Path
    encoder: Encoder
    settings: GradeSettings
    mpp: float | None = None
    backend: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class BagOutcome:
    """A job that is done.

    Attributes
    ----------
    status : BagStatus
        A slide is skipped whose bag is there already, complete and the same.
    message : str
        Why it failed; else empty.
    patches, failed : int
        How many there are, and how many could not be read or encoded.
    warnings : tuple of str
        What a reader of the bag has to know.
    """

    status: BagStatus
    message: str = ""
    patches: int = 0
    failed: int = 0
    warnings: tuple[str, ...] = ()


def bag_files(slides: Sequence[str], out: Path) -> dict[str, Path]:
    """The slides that are meant, see `find_slides`, and the file of each one's bag, whose folder is made.

    Where all files are there, nothing may have to be written, and each slide sees to its own.

    Raises
    ------
    SlideError
        If a folder holds no slide.
    OutputError
        If two slides would have one bag, or nothing can be written to the folder.
    """
    files: dict[str, Path] = {}
    owners: dict[str, str] = {}
    for slide in find_slides(slides):
        name = bag_name(Path(slide).name)
        other = owners.setdefault(same_name(name), slide)
        if other != slide:
            raise OutputError(
                f"asked for the bags of {other} and {slide}, which would both be {name}.h5 in {out}; make them in "
                "separate runs with another output folder each"
            )
        files[slide] = out / f"{name}.h5"
    if not all(map(os.path.isfile, files.values())):
        _require_writable(out)
    return files


def _require_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except (OSError, ValueError) as error:
        raise OutputError(
            f"asked to write bags to {out}, but: {error}; choose another folder"
        ) from error


def bag_to_file(job: BagJob, watch: Watch = BagExtraction.run) -> BagOutcome:
    """Do a job; a slide that cannot be used is an outcome, too.

    Until the bag is whole its features are kept beside it, in a hidden file.

    Parameters
    ----------
    job : BagJob
    watch : callable
        Runs the extraction, and may show how far it is.
    """
    try:
        with opened_as_stated(job.slide, job.backend, job.mpp) as (slide, notes):
            if not job.fresh and (patches := _finished(job, slide)):
                return BagOutcome(BagStatus.SKIPPED, patches=patches)
            _require_writable(job.path.parent)
            kept_in = None if job.fresh else job.path.parent
            extraction = start_extraction(slide, job.encoder, job.settings, kept_in=kept_in)
            extraction.notes += notes
            for _ in watch(extraction):
                pass
            bag = extraction.bag()
            write_bag(job.path, bag)
            _clear(extraction)
    except HmkdError as error:
        return BagOutcome(BagStatus.FAILED, str(error))
    except Exception as error:
        return BagOutcome(BagStatus.FAILED, unforeseen(job.slide, error, _LOG))
    return BagOutcome(
        BagStatus.WRITTEN, "", len(bag.features), len(extraction.failed), extraction.warnings
    )


def _clear(extraction: BagExtraction) -> None:
    """Remove what a finished bag went on from; it harms nothing where it stays."""
    store = extraction.store
    if store is not None:
        try:
            store.remove()
        except OutputError as error:
            extraction.notes.append(store.without_folder(error))


def _finished(job: BagJob, slide: Slide) -> int:
    """Patches of the bag that is there already, if it is the one that the job would make; else 0.

    What could not be read is tried again, and a bag that cannot be read is made anew.

    Raises
    ------
    OutputError
        If it is another encoder's, whose work would be lost.
    """
    try:
        bag = read_bag(job.path)
    except DataError:
        return 0
    sha256 = bag.attributes.get(ENCODER_SHA256)
    if sha256 != job.encoder.sha256:
        theirs = bag.attributes.get(ENCODER, "an encoder without a name")
        of_theirs = f" (sha256 {sha256[:8]})" if isinstance(sha256, str) else ""
        raise OutputError(
            f"asked to write features of {job.encoder.name} (sha256 {job.encoder.sha256[:8]}) to {job.path}, "
            f"where those of {theirs}{of_theirs} are; choose another folder, or --fresh to replace them"
        )
    settings, model = job.settings, job.encoder.model
    key = result_key(slide, tile_grid(slide, model.card, settings.overlap), model, settings)
    wanted = {
        KEY: json.dumps(key, sort_keys=True),
        MIN_TISSUE: settings.min_tissue_fraction,
        FAILED: 0,
        ORIGIN: list(slide.origin_px),
    }
    return len(bag.features) if {**bag.attributes, **wanted} == bag.attributes else 0
