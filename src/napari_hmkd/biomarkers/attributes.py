"""What a bag says of its patches, in the words of CLAM and of TRIDENT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.planning import GradePlan
from napari_hmkd.slide import Slide
from napari_hmkd.tiling import TileGrid

ENCODER, ENCODER_SHA256, PATCH_MPP, TILE_PX = "encoder", "encoder_sha256", "mpp", "tile_px"
KEY, FAILED, MIN_TISSUE = "napari_hmkd_key", "failed_patches", "min_tissue_fraction"
ORIGIN = "origin_in_file_px"

_COMPOUND = (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.zarr", ".ome.zarr.zip", ".zarr.zip")
_SAME_SCALE = 0.01
_ONE_FOLD_MPP = 10.0  # 0.25 um/px are called 40x


def bag_name(slide_name: str) -> str:
    """A slide's name without the end that says its format: what tables of cases call it."""
    for end in _COMPOUND:
        if slide_name.lower().endswith(end):
            return slide_name[: -len(end)]
    return Path(slide_name).stem


def patch_px(grid: TileGrid) -> int:
    """Side of a grid's tiles in level-0 px; the mean of both where pixels are not square."""
    return max(1, round(grid.overlap * float(np.mean(grid.step_px))))


def bag_attributes(
    plan: GradePlan, encoder: Encoder, key: Mapping[str, object], failed: int
) -> dict[str, Any]:
    """Attributes of the coordinates of a bag.

    `patch_size` is in px of the pyramid's level `patch_level`, as CLAM has it; that is the level of the
    encoder's pixel size where there is one, and level 0 where there is none. TRIDENT's magnifications stand
    in the ratio of both. Sizes are those of the whole file, from whose corner the coordinates count.

    Ours are the encoder with the hash of its weights, `tile_px` and `mpp` of what it saw, `origin_in_file_px`,
    where (y, x) the slide begins in its file, and `napari_hmkd_key`, by which a bag is known to be the one that
    a command would make again. There is no folder among them: folders are often called after patients, and
    files are passed on.

    Parameters
    ----------
    plan : GradePlan
    encoder : Encoder
    key : mapping
        `result_key` of both.
    failed : int
        Tiles with tissue that are not in the bag.
    """
    slide, grid, side = plan.slide, plan.grid, patch_px(plan.grid)
    level, patch_size = _level_of(slide, grid.tile_px, side)
    one = slide.levels[level]
    magnification = _ONE_FOLD_MPP / float(np.mean(grid.slide_mpp))
    width, height = _file_size(slide, 0)
    return {
        "name": bag_name(slide.name),
        "patch_size": patch_size,
        "patch_level": level,
        "downsample": (one.downsample, one.downsample),
        "level_dim": _file_size(slide, level),
        "downsampled_level_dim": _file_size(slide, level),
        "patch_size_level0": side,
        "level0_magnification": magnification,
        "target_magnification": magnification * patch_size / side,
        "overlap": patch_size - patch_size // grid.overlap,
        "level0_width": width,
        "level0_height": height,
        "level0_mpp": float(np.mean(grid.slide_mpp)),
        TILE_PX: grid.tile_px,
        PATCH_MPP: grid.model_mpp,
        ENCODER: encoder.name,
        ENCODER_SHA256: encoder.sha256,
        MIN_TISSUE: plan.settings.min_tissue_fraction,
        FAILED: failed,
        ORIGIN: slide.origin_px,
        "notice": encoder.model.card.notice,
        KEY: json.dumps(key, sort_keys=True),
    }


def _level_of(slide: Slide, tile_px: int, side_px: int) -> tuple[int, int]:
    """The level on which tiles have the encoder's pixel size, or level 0; and their side there, px."""
    for number, level in enumerate(slide.levels):
        if abs(level.downsample * tile_px / side_px - 1) < _SAME_SCALE:
            return number, tile_px
    return 0, side_px


def _file_size(slide: Slide, level: int) -> tuple[int, int]:
    """Width and height of a level, px; with what was not scanned, where OpenSlide knows of that."""
    shown, said = slide.levels[level].size, slide.properties
    width = said.get(f"openslide.level[{level}].width", shown.width)
    height = said.get(f"openslide.level[{level}].height", shown.height)
    return int(width), int(height)
