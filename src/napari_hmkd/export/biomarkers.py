"""Biomarkers of a slide in files: probabilities, attention of the patches, gallery and page."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.export.biomarkers_gallery import write_gallery
from napari_hmkd.export.biomarkers_geojson import patch_collection
from napari_hmkd.export.biomarkers_patches import patch_table
from napari_hmkd.export.ome_image import CHANNEL_COLOURS, create_image, write_level
from napari_hmkd.export.pages import data_url, flat, jpeg_url, render
from napari_hmkd.export.provenance import (
    model_entry,
    package_versions,
    slide_entry,
    tiles_entry,
)
from napari_hmkd.export.qupath import write_collection
from napari_hmkd.export.table import write_tiles
from napari_hmkd.geometry import Origin
from napari_hmkd.output_folder import FolderKind, replaced_folder, write_json
from napari_hmkd.wording import NO_GRADE, RESEARCH_ONLY

SUMMARY_FILE, TABLE_FILE, PAGE_FILE = "biomarkers.json", "patches.csv", "biomarkers.html"
PARQUET_FILE, GEOJSON_FILE = "patches.parquet", "patches.geojson"
ATTENTION_STORE, GALLERY_FILE = "attention.ome.zarr", "gallery.png"
BIOMARKERS = FolderKind(
    "biomarkers",
    frozenset({SUMMARY_FILE}),
    frozenset(
        {
            SUMMARY_FILE, TABLE_FILE, PARQUET_FILE, GEOJSON_FILE, PAGE_FILE, ATTENTION_STORE,
            GALLERY_FILE,
        }
    ),
)  # fmt: skip
ENDING = ".biomarkers"
"""Of a slide's folder, after its name."""

_THUMBNAIL_PX = 900
_LISTED = 20  # patches of each target in the summary
_ATTENTION = "weight of the patch in the answer, the weights of a slide's patches sum to 1"
_RELATIVE = "attention times the number of patches: 1 where all patches weigh alike"


def write_biomarkers(
    run: SlideBiomarkers, folder: Path, geojson_origin: Origin = "slide"
) -> dict[str, Any]:
    """Write all files of a slide whose biomarkers were predicted: all of them, or none.

    - `biomarkers.json`: probabilities, definitions, the patches with most attention, provenance.
    - `patches.csv`, `patches.parquet`: a row per patch, with its attention for each target.
    - `patches.geojson`: for QuPath, see `patch_collection`; it counts from `geojson_origin`.
    - `attention.ome.zarr`: relative attention as an image of one channel a target, one pixel a tile,
      float32, NaN where there is no patch; placed as `write_ome_zarr` places grades.
    - `gallery.png`: attention over the slide and the patches with most of it, a row a target.
    - `biomarkers.html`: a page of it all, with what each status means.

    Returns
    -------
    dict
        What `biomarkers.json` says.

    Raises
    ------
    OutputError
        If the folder cannot be written, or what is there is no such folder.
    """
    about = summarise_biomarkers(run, geojson_origin)
    with replaced_folder(folder, BIOMARKERS) as part:
        write_tiles(patch_table(run, about), part / TABLE_FILE, part / PARQUET_FILE, ".6g")
        write_collection(patch_collection(run, about, geojson_origin), part / GEOJSON_FILE)
        _write_attention(run, part / ATTENTION_STORE, about)
        write_gallery(run, about, part / GALLERY_FILE)
        write_json(part / SUMMARY_FILE, about)
        _write_page(run, about, (part / GALLERY_FILE).read_bytes(), part / PAGE_FILE)
    return about


def summarise_biomarkers(run: SlideBiomarkers, geojson_origin: Origin = "slide") -> dict[str, Any]:
    """Everything a reader of the results needs, as plain values for JSON; never the slide's folder.

    `geojson_origin` is where `patches.geojson` counts from.
    """
    extraction, card = run.extraction, run.model.card
    plan, encoder, key = extraction.plan, extraction.encoder, extraction.key
    return {
        "use": RESEARCH_ONLY,
        "meaning": NO_GRADE,
        "notice": run.notice,
        "warnings": list(run.warnings),
        "answered_by": run.answered_by,
        "genes": _genes_entry(run),
        "targets": [_target_entry(run, number) for number in range(len(run.predictions))],
        "attention": {"attention": _ATTENTION, "relative_attention": _RELATIVE},
        "patches": len(extraction.encoded_tiles()),
        "unreadable_tiles": [
            {"row": tile.row, "column": tile.column, "reason": tile.message}
            for _, tile in sorted(extraction.failed.items())
        ],
        "slide": slide_entry(plan.slide, str(key["slide_fingerprint"]))
        | {"enlargement": plan.enlargement},
        "stain": {"kind": str(plan.stain.kind), "reason": plan.stain.reason},
        "tiles": tiles_entry(plan),
        "model": {
            "name": card.name,
            "file": run.model.path.name,
            "sha256": run.model.sha256(),
            "card": json.loads(card.to_json()),
        },
        "encoder": model_entry(encoder.model, encoder.sha256),
        "forced": plan.settings.force,
        "key": key,
        "device": str(extraction.runner.device),
        "precision": extraction.runner.precision,
        "geojson_origin": geojson_origin,
        "patches_of_an_earlier_run": extraction.resumed_tiles,
        "seconds": round(run.seconds, 2),
        "versions": package_versions(),
    }


def _genes_entry(run: SlideBiomarkers) -> dict[str, str] | None:
    """Whose genes were used of which table, or why none; None without a table."""
    genes = run.genes
    if genes is None:
        return None
    return {"file": genes.file, "sha256": genes.sha256, "row": genes.row, "missing": genes.missing}


def _target_entry(run: SlideBiomarkers, number: int) -> dict[str, Any]:
    prediction, tiles = run.predictions[number], run.extraction.encoded_tiles()
    target, top = prediction.target, prediction.top(_LISTED)
    origins = run.extraction.plan.grid.origins(tiles)
    return {
        "name": target.name,
        "definition": target.definition,
        "probabilities": dict(zip(target.classes, prediction.probabilities.tolist(), strict=True)),
        "most_probable": prediction.most_probable,
        "ordinal": target.ordinal,
        "network": prediction.network,
        "temperature": prediction.temperature,
        "top_patches": [
            {
                "row": tiles[patch, 0].item(),
                "column": tiles[patch, 1].item(),
                "y_px": origins[patch, 0].item(),
                "x_px": origins[patch, 1].item(),
                "attention": prediction.attention[patch].item(),
                "relative_attention": prediction.relative_attention[patch].item(),
            }
            for patch in top
        ],
    }


def _write_attention(run: SlideBiomarkers, path: Path, about: dict[str, Any]) -> None:
    grid = run.extraction.plan.grid
    channels = [
        (f"attention, {one.target.name}", colour, (0.0, float(one.relative_attention.max())))
        for one, colour in zip(run.predictions, cycle(CHANNEL_COLOURS), strict=False)
    ]
    name = f"relative attention ({run.extraction.plan.slide.name})"
    group = create_image(path, grid.step_px, grid.slide_mpp, name, channels, about)
    write_level(group, np.stack([run.attention_map(one) for one in run.predictions]), "cyx", np.nan)


def _write_page(run: SlideBiomarkers, about: dict[str, Any], gallery: bytes, path: Path) -> None:
    page = render(
        "biomarkers.html",
        s=about,
        gallery=data_url("png", gallery),
        thumbnail=jpeg_url(run.extraction.plan.slide.thumbnail(_THUMBNAIL_PX)),
        provenance=flat({name: value for name, value in about.items() if name != "targets"}),
    )
    path.write_text(page, encoding="utf-8", newline="\n")
