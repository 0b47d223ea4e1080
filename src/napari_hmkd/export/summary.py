"""`summary.json`: what was graded, with what, and how much tissue of each grade there is."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from napari_hmkd.export.regions import region_entries, slide_grade, summary_entries
from napari_hmkd.export.tissue import TISSUE_FILE
from napari_hmkd.grading import SlideGrading
from napari_hmkd.slide import TissueMask
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY

_PACKAGES = (
    "napari-hmkd",
    "torch",
    "timm",
    "numpy",
    "openslide-python",
    "openslide-bin",
    "tifffile",
)


def summarise(grading: SlideGrading) -> dict[str, object]:
    """Everything a reader of the results needs, as plain values for JSON.

    Areas count each tile's tissue wholly for the tile's most probable grade; see
    `Heatmap.summary`.
    """
    plan, card, summary = grading.plan, grading.plan.card, grading.heatmap.summary()
    tried = summary.graded_tiles + summary.failed_tiles - grading.resumed_tiles
    left = len(grading.heatmap.remaining)
    warnings = [card.notice] if card.notice else []
    warnings += grading.warnings
    if left:
        warnings.append(
            f"stopped early: {left} of {len(plan.tiles)} tiles were not graded, and those that were "
            "are no random sample"
        )
    return {
        "use": RESEARCH_ONLY,
        "meaning": NO_SCORE,
        "notice": card.notice,
        "warnings": warnings,
        **summary_entries(summary, card.class_names),
        "slide_grade": slide_grade(grading),
        "regions": region_entries(grading),
        "unreadable_tiles": [
            {"row": tile.row, "column": tile.column, "reason": tile.message}
            for _, tile in sorted(grading.heatmap.failed.items())
        ],
        "slide": _slide(grading),
        "stain": {"kind": str(plan.stain.kind), "reason": plan.stain.reason},
        "tissue": _tissue(plan.tissue),
        "tiles": {
            "tile_px": card.tile_px,
            "mpp": card.mpp,
            "step_level0_px": list(plan.grid.step_px),
            "rows": plan.grid.rows,
            "columns": plan.grid.columns,
            "min_tissue_fraction": plan.settings.min_tissue_fraction,
            "only_in_regions": plan.settings.only_regions,
        },
        "model": {
            "name": card.name,
            "file": grading.model.path.name,
            "sha256": grading.key["model_sha256"],
            "temperature": card.temperature,
            "training_data": card.training_data,
            "card": asdict(card),
        },
        "complete": not left,
        "forced": plan.settings.force,
        "key": grading.key,
        "device": str(grading.device),
        "precision": grading.grader.precision,
        "tiles_of_an_earlier_run": grading.resumed_tiles,
        "batch_size": plan.settings.batch_size,
        "seconds": round(grading.seconds, 3),
        "tiles_per_second": round(tried / grading.seconds, 3) if grading.seconds else None,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
    }


def write_summary(grading: SlideGrading, path: Path) -> None:
    """Write `summarise` as UTF-8 JSON."""
    text = json.dumps(summarise(grading), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _slide(grading: SlideGrading) -> dict[str, object]:
    slide = grading.plan.slide
    return {
        "name": slide.name,
        "path": str(slide.path.absolute()),
        "backend": slide.backend,
        "backend_reason": slide.backend_reason,
        "colour": slide.colour,
        "origin_in_file_px": list(slide.origin_px),
        "vendor": slide.vendor,
        "fingerprint": grading.key["slide_fingerprint"],
        "height_px": slide.size.height,
        "width_px": slide.size.width,
        "mpp": list(slide.require_mpp()),
        "mpp_source": slide.mpp_source,
        "enlargement": grading.plan.enlargement,
    }


def _tissue(tissue: TissueMask | None) -> dict[str, object] | None:
    """Where the mask is and what one of its pixels measures, um (y, x); None without a mask."""
    if tissue is None:
        return None
    return {"file": TISSUE_FILE, "mpp": list(tissue.mpp), "edited": tissue.edited}
