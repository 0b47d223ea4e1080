"""Where results come from: what every exported file carries, so that it tells it by itself."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

from PIL.PngImagePlugin import PngInfo

from napari_hmkd.export.tissue import TISSUE_FILE
from napari_hmkd.grading import OpenModel, SlideGrading
from napari_hmkd.planning import GradePlan
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY, path_replaced

KEY = "napari_hmkd"
"""Under which name a file carries it."""

FIELDS = (
    "use", "meaning", "notice", "slide", "stain", "tissue", "tiles", "model", "complete", "forced",
    "key", "device", "precision", "batch_size", "versions",
)  # fmt: skip
"""What `provenance` tells of."""

_PACKAGES = (
    "napari-hmkd",
    "torch",
    "timm",
    "numpy",
    "openslide-python",
    "openslide-bin",
    "pydicom",
    "tifffile",
)


def provenance(grading: SlideGrading) -> dict[str, Any]:
    """What was graded, with what and how, and what may be done with it: plain values of JSON.

    Of the slide its fingerprint, pixel size and where that is from, back end and what becomes of its
    colours, but never its folder: folders are often called after patients, and files are passed on.
    Of the model its hash and card, with temperature and thresholds of its calibration. Besides these
    the stain, the tissue mask, the grid, the settings, the device and its precision, and versions.
    """
    plan, card = grading.plan, grading.plan.card
    return {
        "use": RESEARCH_ONLY,
        "meaning": NO_SCORE,
        "notice": card.notice,
        "slide": slide_entry(plan.slide, str(grading.key["slide_fingerprint"]))
        | {"enlargement": plan.enlargement},
        "stain": {"kind": str(plan.stain.kind), "reason": plan.stain.reason},
        "tissue": _tissue(plan.tissue),
        "tiles": tiles_entry(plan),
        "model": model_entry(grading.model, str(grading.key["model_sha256"])),
        "complete": not len(grading.heatmap.remaining),
        "forced": plan.settings.force,
        "key": grading.key,
        "device": str(grading.device),
        "precision": grading.grader.precision,
        "batch_size": plan.settings.batch_size,
        "versions": package_versions(),
    }


def tiles_entry(plan: GradePlan) -> dict[str, object]:
    """Where tiles lie, and which of them are wanted."""
    grid, settings = plan.grid, plan.settings
    return {
        "tile_px": grid.tile_px,
        "mpp": grid.model_mpp,
        "overlap": grid.overlap,
        "step_level0_px": list(grid.step_px),
        "rows": grid.rows,
        "columns": grid.columns,
        "min_tissue_fraction": settings.min_tissue_fraction,
        "only_in_regions": settings.only_regions,
    }


def model_entry(model: OpenModel, sha256: str) -> dict[str, object]:
    """A model with its card."""
    card = model.card
    return {
        "name": card.name,
        "file": model.path.name,
        "sha256": sha256,
        "temperature": card.temperature,
        "training_data": card.training_data,
        "card": json.loads(card.to_json()),
    }


def package_versions() -> dict[str, str]:
    """Of Python and of what computes."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def provenance_json(grading: SlideGrading) -> str:
    """`provenance` as JSON text, for files that carry nothing but text."""
    return json.dumps(provenance(grading), ensure_ascii=False, allow_nan=False)


def png_text(grading: SlideGrading) -> PngInfo:
    """`provenance_json` as the text of a PNG, in one iTXt chunk."""
    text = PngInfo()
    text.add_itxt(KEY, provenance_json(grading))
    return text


def slide_entry(slide: Slide, fingerprint: str) -> dict[str, object]:
    """A slide: what it is, how it is read and how large its pixels are, but never its folder."""
    return {
        "name": slide.name,
        "backend": slide.backend,
        # It may quote another back end's message, which names the file with its folder.
        "backend_reason": path_replaced(slide.backend_reason, str(slide.path), slide.name),
        "colour": slide.colour,
        "origin_in_file_px": list(slide.origin_px),
        "vendor": slide.vendor,
        "fingerprint": fingerprint,
        "height_px": slide.size.height,
        "width_px": slide.size.width,
        "mpp": list(slide.require_mpp()),
        "mpp_source": slide.mpp_source,
    }


def _tissue(tissue: TissueMask | None) -> dict[str, object] | None:
    """Where the mask is and what one of its pixels measures, um (y, x); None without a mask."""
    if tissue is None:
        return None
    return {"file": TISSUE_FILE, "mpp": list(tissue.mpp), "edited": tissue.edited}
