"""`napari-hmkd-train features`: one bag of features for each slide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hmkd.errors import DataError, ExitCode
from napari_hmkd.training.console import say, tracked
from napari_hmkd.training.fields import option
from napari_hmkd.wording import counted

if TYPE_CHECKING:  # --help must not wait for what computes
    from napari_hmkd.biomarkers.extraction import BagExtraction, EncodedBatch
    from napari_hmkd.biomarkers.jobs import BagJob, BagOutcome


@dataclass(frozen=True)
class EncoderSettings:
    """What turns tiles into features."""

    encoder: str = option(
        "demo",
        "Name or file of a student of this project, whose pooled features are taken, or timm:NAME.",
    )
    weights: Path | None = option(
        None,
        "Local file of timm's weights for timm:NAME; the hub's config.json beside it is obeyed.",
    )
    tile_px: int | None = option(None, "Side of the tiles for timm:NAME, px; default: 256.")
    tile_mpp: float | None = option(
        None, "Pixel size of the tiles for timm:NAME, um/px; default: 0.5."
    )


@dataclass(frozen=True)
class SlideSettings:
    """How slides are read."""

    mpp: float | None = option(
        None, "Pixel size of level 0, um/px, where a file lacks it or is wrong; wins over it."
    )
    min_tissue: float = option(0.1, "Tiles with less tissue than this share are left out.")
    backend: str | None = option(
        None,
        "Read with openslide, tifffile, pydicom, zarr or fastslide, not with what suits the file.",
    )
    force: bool = option(False, "Go on with a slide that does not look like H&E in focus.")
    fresh: bool = option(False, "Make bags anew that are there already, and keep no tiles.")
    batch_size: int = option(32, "Tiles per run of the network.")
    device: str = option("auto", "auto, cuda, cuda:1, mps or cpu.")
    precision: str = option("auto", "auto (bfloat16 on GPUs that have it), float32 or bfloat16.")


def make_bags(
    slides: Sequence[str], out: Path, encoder: EncoderSettings, reading: SlideSettings
) -> ExitCode:
    """Turn slides into bags, each `out` / its name.h5, and tell what comes of each on stderr.

    Returns
    -------
    The worst of the slides' exit codes.

    Raises
    ------
    HmkdError
        If encoder, device, a setting or the folder, which is made, cannot be used; before a slide is opened.
    """
    from napari_hmkd.biomarkers.encoders import find_encoder
    from napari_hmkd.biomarkers.jobs import BagJob, GradeSettings, bag_files, bag_to_file
    from napari_hmkd.device import choose_device, choose_precision

    try:
        settings = GradeSettings(
            batch_size=reading.batch_size,
            device=reading.device,
            precision=reading.precision,
            min_tissue_fraction=reading.min_tissue,
            force=reading.force,
        )
    except ValueError as error:
        raise DataError(str(error)) from error
    choose_precision(choose_device(reading.device), reading.precision)
    found = find_encoder(encoder.encoder, encoder.weights, encoder.tile_px, encoder.tile_mpp)
    say(f"{found.name}: {found.feature_dim} features of {found.patch_px} px at {found.mpp:g} um/px")
    jobs = [
        BagJob(slide, path, found, settings, reading.mpp, reading.backend, reading.fresh)
        for slide, path in bag_files(slides, out).items()
    ]
    return ExitCode.worst(_tell(job, bag_to_file(job, _watch)) for job in jobs)


def _watch(extraction: BagExtraction) -> Iterator[EncodedBatch]:
    name, left = extraction.plan.slide.name, len(extraction.remaining)
    if extraction.resumed_tiles:
        say(f"{name}: {extraction.resumed_tiles} tiles were encoded before")
    batches = -(-left // extraction.plan.settings.batch_size)
    return tracked(extraction.run(), f"{name}, batches", batches)


def _tell(job: BagJob, outcome: BagOutcome) -> ExitCode:
    if outcome.message:
        say(f"error: {outcome.message}")
        return ExitCode.FAILED
    for line in outcome.warnings:
        say(f"warning: {job.slide}: {line}")
    lost = f", {outcome.failed} could not be read or encoded" if outcome.failed else ""
    patches = counted(outcome.patches, "patch", "patches")
    say(f"{job.path}: {patches}{lost}, {outcome.status}; research use only")
    return ExitCode.UNREADABLE_TILES if outcome.failed else ExitCode.GOOD
