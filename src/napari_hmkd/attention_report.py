"""Attention of a slide from start to end, as the command line writes it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_hmkd.alignment import (
    Method,
    align_automatically,
    doubt_alignment,
    load_alignment,
)
from napari_hmkd.device import device_of
from napari_hmkd.errors import ModelError
from napari_hmkd.export.attention import Step, write_attention
from napari_hmkd.export.attention_check import ImportanceCheck
from napari_hmkd.export.provenance import (
    model_entry,
    package_versions,
    slide_entry,
    tiles_entry,
)
from napari_hmkd.grading import OpenModel, open_model
from napari_hmkd.inspection.importance import saliency
from napari_hmkd.inspection.pair import AlignedIhc, StainPair
from napari_hmkd.inspection.slide import inspect_slide
from napari_hmkd.inspection.tile import require_pair
from napari_hmkd.model import Student
from napari_hmkd.planning import GradePlan, GradeSettings, plan_grading
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.slide import Slide, StainKind
from napari_hmkd.slide.contents.stain import examine
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.wording import RESEARCH_ONLY

_NORMALISATION = (
    "received attention of a key token is sqrt(sum_i u_ij), u = A * A over its Euclidean norm: 1 where all tokens "
    "are looked at alike; the discrepancies of a tile add up to the level's attention loss"
)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionRequest:
    """What is to be looked into.

    Attributes
    ----------
    he : Slide
        Must stay open.
    student : str
        Name or file.
    ihc : Slide or None
        The same tissue; without it the student is looked into alone.
    teacher : str
    alignment : pathlib.Path or None
        A file of `save_alignment`; the slides are aligned automatically, if left out.
    refine : bool
        Move the alignment at each tile, see `AlignedIhc`.
    device : str
        As `choose_device` takes it.
    check : int
        In how many of the worst tiles importance is measured, and its rank correlation with attention.
    force : bool
        Go on with a slide that does not look like sharp H&E.
    regions : tuple of MarkedRegion
        Parts of the H&E to sum up by themselves.
    only_regions : bool
        Leave the tiles that lie outside all of them.
    """

    he: Slide
    student: str = "demo"
    ihc: Slide | None = None
    teacher: str = "demo-teacher"
    alignment: Path | None = None
    refine: bool = True
    device: str = "auto"
    check: int = 0
    force: bool = False
    regions: tuple[MarkedRegion, ...] = ()
    only_regions: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class AttentionReport:
    """All that is needed to look into a slide, checked.

    Attributes
    ----------
    plan : GradePlan
        Its tiles are looked into.
    pair : StainPair
        Where they are read.
    student : OpenModel
    teacher : OpenModel or None
    check : ImportanceCheck
    about : dict
        What is written about it.
    """

    plan: GradePlan
    pair: StainPair
    student: OpenModel
    teacher: OpenModel | None
    check: ImportanceCheck
    about: dict[str, Any]

    def write(self, folder: Path) -> Generator[Step, None, None]:
        """Look into the tiles and write what `write_attention` does, which see.

        Yields
        ------
        InspectedTile, FailedTile or CheckedTile
            Each tile, then those that are checked.
        """
        steps = inspect_slide(self.pair, self.student, self.teacher, self.plan.tiles.tolist())
        alignment = None if self.pair.ihc is None else self.pair.ihc.alignment
        return write_attention(
            self.pair, steps, folder, self.about, alignment, self.check, self.plan.regions
        )


def plan_report(request: AttentionRequest) -> AttentionReport:
    """Open the models, find the tissue and lay the IHC over the H&E.

    Raises
    ------
    AlignmentError
        If the slides cannot be aligned, or the file is of others.
    HmkdError
        If slide, models or device do not fit, or what a check needs is not installed.
    """
    if request.check:
        saliency()
    student = open_model(request.student, "student").move_to(request.device)
    if not isinstance(student.network, Student):
        raise ModelError(
            f"asked where {student.card.name} looks, but a network of its kind has no such attention; choose a "
            "student of HM-KD"
        )
    teacher = None
    if request.ihc is not None:
        teacher = open_model(request.teacher, "teacher").move_to(request.device)
        require_pair(student, teacher)
    settings = GradeSettings(
        device=request.device, force=request.force, only_regions=request.only_regions
    )
    plan = plan_grading(request.he, student.card, settings, regions=request.regions)
    ihc = _aligned_ihc(request)
    pair = StainPair(request.he, plan.grid, ihc)
    about = _about(request, plan, student, teacher, ihc)
    check = ImportanceCheck(student, request.check)
    return AttentionReport(plan, pair, student, teacher, check, about)


def _aligned_ihc(request: AttentionRequest) -> AlignedIhc | None:
    if request.ihc is None:
        return None
    if request.alignment is None:
        alignment = align_automatically(request.he, request.ihc)
    else:
        alignment = load_alignment(request.alignment, request.he, request.ihc)
    return AlignedIhc(request.ihc, alignment, request.refine)


def doubts_of_ihc(he: Slide, ihc: AlignedIhc) -> list[str]:
    """What speaks against a slide's being the IHC, and its lying so.

    Told and not refused: faint IHC can look like H&E, and the texture of neighbouring sections differs.

    Raises
    ------
    PixelSizeError, SlideReadError
        As `check_stain` and `doubt_alignment`.
    """
    found: list[str | None] = []
    stain, _ = examine(ihc.slide)
    if stain.kind is not StainKind.IHC:
        found.append(
            f"{ihc.slide.name}, given as the IHC, looks like {stain.reason}: make sure that it is the IHC"
        )
    if ihc.alignment.method is not Method.AUTOMATIC:  # which has looked at this
        found.append(doubt_alignment(ihc.alignment, he, ihc.slide))
    return [one for one in found if one is not None]


def _about(
    request: AttentionRequest,
    plan: GradePlan,
    student: OpenModel,
    teacher: OpenModel | None,
    ihc: AlignedIhc | None,
) -> dict[str, Any]:
    alignment = None if ihc is None else ihc.alignment
    models = {"student": student} | ({} if teacher is None else {"teacher": teacher})
    slides = {"he": request.he} | ({} if request.ihc is None else {"ihc": request.ihc})
    return {
        "use": RESEARCH_ONLY,
        "notice": "; ".join(
            dict.fromkeys(filter(None, (one.card.notice for one in models.values())))
        ),
        "normalisation": _NORMALISATION,
        "warnings": [
            *plan.warnings,
            *([] if ihc is None else doubts_of_ihc(request.he, ihc)),
        ],
        "slides": {name: slide_entry(slide, fingerprint(slide)) for name, slide in slides.items()},
        "models": {name: model_entry(one, one.sha256()) for name, one in models.items()},
        "alignment": None
        if alignment is None
        else {
            "affine": alignment.affine.tolist(),
            "method": str(alignment.method),
            "residual_um": alignment.residual_um,
            "score": alignment.score,
            "moved_at_each_tile": request.refine,
        },
        "tiles": tiles_entry(plan),
        "forced": plan.settings.force,
        "device": str(device_of(student.network)),
        "versions": package_versions(),
    }
