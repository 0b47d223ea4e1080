"""Attention of a whole slide in files, written tile by tile: maps, agreement and the tiles' table."""

from __future__ import annotations

import csv
import heapq
import json
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import zarr
from ome_zarr_models.v05.image import ImageAttrs

from napari_hmkd.alignment import Alignment, save_alignment
from napari_hmkd.errors import SlideError
from napari_hmkd.export.attention_figure import write_figure
from napari_hmkd.export.ome_metadata import LEVEL, VERSION, attributes, multiscale, omero
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.maps import ALONE, MapKind, Mosaic, look_of, tokens_of
from napari_hmkd.inspection.slide import InspectedTile, StainPair, TileRow, row_of
from napari_hmkd.inspection.tile import LEVELS, token_side_px
from napari_hmkd.output_folder import FolderKind, replaced_folder
from napari_hmkd.tiling import TileGrid

SUMMARY_FILE, TABLE_FILE, FAILED_FILE = "attention.json", "attention.csv", "failed.csv"
AGREEMENT_STORE = "agreement.ome.zarr"
MAP_STORES = tuple(f"attention_level_{level}.ome.zarr" for level in LEVELS)
FIGURE_FILE, ALIGNMENT_FILE = "figure.png", "alignment.json"
ATTENTION = FolderKind(
    "attention",
    frozenset({SUMMARY_FILE}),
    frozenset(
        {
            SUMMARY_FILE, TABLE_FILE, FAILED_FILE, AGREEMENT_STORE, FIGURE_FILE, ALIGNMENT_FILE,
            *MAP_STORES,
        }
    ),
)  # fmt: skip

_SHOWN = 3  # tiles in the figure
_CHUNK = 2048
_COLOURS = ("#ff7f0e", "#1f77b4", "#2ca02c", "#d62728", "#9467bd")
Step = InspectedTile | FailedTile


def write_attention(
    pair: StainPair,
    inspected: Iterable[Step],
    folder: Path,
    about: dict[str, Any],
    alignment: Alignment | None = None,
) -> Generator[Step, None, None]:
    """Write what comes of tiles, row by row of the grid, as it comes; all files appear, or none.

    - `attention.csv`: a `TileRow` a tile, and the model's notice; `failed.csv`: the others, with why.
    - `attention_level_0.ome.zarr` to `_2`: a pixel per token, float32 (kinds, y, x), NaN where there is
      none; the channels are `MapKind`s.
    - `agreement.ome.zarr`: a pixel per tile, float32 (3, rows, columns), one channel a level; where the
      teacher took part.
    - `figure.png`: agreement over the slide, and the maps of the three tiles with the greatest attention
      loss; of the highest expected grade, without a teacher.
    - `alignment.json`: what the IHC was read through.
    - `attention.json`: `about`, and how many tiles there are.

    Parameters
    ----------
    pair : StainPair
        Where they were read.
    inspected : iterable of InspectedTile or FailedTile
        In order of rows.
    folder : pathlib.Path
        It is made, or replaced if it holds such files.
    about : dict
        Plain values for JSON, among them "notice".
    alignment : Alignment, optional
        To be kept beside.

    Yields
    ------
    InspectedTile or FailedTile
        Each that was given, once it is written.

    Raises
    ------
    OutputError
        If the folder cannot be written, or what is there is none of this kind.
    SlideError
        At the end, if not one tile could be looked into.
    """
    kinds = ALONE if pair.read_ihc is None else tuple(MapKind)
    tiles, failed, first_failure = 0, 0, ""
    chosen: list[tuple[float, int, InspectedTile]] = []  # a heap, the least on top
    with replaced_folder(folder, ATTENTION) as part, ExitStack() as files:
        maps = _MapWriter(part, pair.grid, kinds, about)
        rows = csv.writer(files.enter_context(_table(part / TABLE_FILE)), lineterminator="\n")
        rows.writerow((*TileRow.names(), "notice"))
        lost = csv.writer(files.enter_context(_table(part / FAILED_FILE)), lineterminator="\n")
        lost.writerow(("row", "column", "reason"))
        for one in inspected:
            if isinstance(one, FailedTile):
                failed += 1
                first_failure = first_failure or one.message
                lost.writerow((one.row, one.column, one.message))
            else:
                tiles += 1
                row = row_of(one, pair.grid)
                rows.writerow((*astuple(row), about["notice"]))
                maps.put(one, row)
                worst = row.student_expected if row.attention_loss is None else row.attention_loss
                heapq.heappush(chosen, (worst, -tiles, one))
                if len(chosen) > _SHOWN:
                    heapq.heappop(chosen)
            yield one
        if failed and not tiles:
            raise SlideError(
                f"asked to look into {failed} tiles of {pair.he.name}, but none could be; the first failed with: "
                f"{first_failure}; fetch the file again from where it came, or choose other models"
            )
        maps.close()
        files.close()
        shown = [one for _, _, one in sorted(chosen, reverse=True)]
        write_figure(pair, maps.agreement(), shown, about, part / FIGURE_FILE)
        if alignment is not None:
            save_alignment(part / ALIGNMENT_FILE, alignment)
        count = {"inspected_tiles": tiles, "failed_tiles": failed}
        text = json.dumps(about | count, indent=2, ensure_ascii=False)
        (part / SUMMARY_FILE).write_text(text + "\n", encoding="utf-8", newline="\n")


class _MapWriter:
    """Keeps one row of tiles, and writes it when the next one begins."""

    def __init__(
        self, folder: Path, grid: TileGrid, kinds: tuple[MapKind, ...], about: dict[str, Any]
    ) -> None:
        self._grid, self._kinds = grid, kinds
        self._sides = [grid.tile_px // token_side_px(level) for level in LEVELS]
        self._stores = [
            self._make(
                folder / name, side, [(kind, *look_of(kind, side).limits) for kind in kinds], about
            )
            for name, side in zip(MAP_STORES, self._sides, strict=True)
        ]
        self._agreement: zarr.Array | None = None
        if len(kinds) > 1:
            channels = [(f"agreement, level {level}", 0.0, 1.0) for level in LEVELS]
            self._agreement = self._make(folder / AGREEMENT_STORE, 1, channels, about)
        self._row: int | None = None
        self._bands: list[list[Mosaic]] = []
        self._agreed = np.empty(0)

    def put(self, one: InspectedTile, row: TileRow) -> None:
        """Enter a tile; its row is that of the last one or a later one."""
        if row.row != self._row:
            self.close()
            self._begin(row.row)
        for level, bands in enumerate(self._bands):
            for kind, band in zip(self._kinds, bands, strict=True):
                band.put(one.tile, tokens_of(one.inspection, kind, level))
        if self._agreement is not None:
            self._agreed[:, row.column] = row.agreement_0, row.agreement_1, row.agreement_2

    def close(self) -> None:
        """Write what is kept."""
        if self._row is None:
            return
        for store, side, bands in zip(self._stores, self._sides, self._bands, strict=True):
            store[:, self._row * side : (self._row + 1) * side] = np.stack([b.data for b in bands])
        if self._agreement is not None:
            self._agreement[:, self._row] = self._agreed
        self._row = None

    def agreement(self) -> np.ndarray | None:
        """What was written of it, the mean of the levels: float32 (rows, columns); None without any."""
        return None if self._agreement is None else np.mean(self._agreement[...], axis=0)

    def _begin(self, row: int) -> None:
        columns = self._grid.columns
        self._row = row
        self._bands = [
            [Mosaic((row, 0), (1, columns), side) for _ in self._kinds] for side in self._sides
        ]
        self._agreed = np.full((len(LEVELS), columns), np.nan, np.float32)

    def _make(
        self, path: Path, side: int, channels: list[tuple[str, float, float]], about: dict[str, Any]
    ) -> zarr.Array:
        step_px = (self._grid.step_px[0] / side, self._grid.step_px[1] / side)
        shown = [
            (name, colour, (low, high))
            for (name, low, high), colour in zip(channels, _COLOURS, strict=False)
        ]
        image = ImageAttrs.model_validate(
            {
                "version": VERSION,
                "multiscales": [multiscale(step_px, self._grid.slide_mpp, "cyx", path.stem)],
                "omero": omero(shown),
            }
        )
        group = zarr.create_group(path, zarr_format=3, attributes=attributes(image, about))
        width = self._grid.columns * side
        return group.create_array(
            LEVEL,
            shape=(len(channels), self._grid.rows * side, width),
            dtype=np.float32,
            chunks=(1, side, min(width, _CHUNK)),
            fill_value=np.nan,
            dimension_names="cyx",
        )


def _table(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")
