"""Attention of a whole slide in files, written tile by tile: maps, agreement and the tiles' table."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_hmkd.alignment import Alignment, save_alignment
from napari_hmkd.export.attention_check import (
    CheckedTile,
    ImportanceCheck,
    importance_entry,
    importance_words,
)
from napari_hmkd.export.attention_figure import write_figure
from napari_hmkd.export.attention_tables import FAILED_FILE, TABLE_FILE, TileTables
from napari_hmkd.export.ome_image import CHANNEL_COLOURS, LEVEL, create_image
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.maps import ALONE, MapKind, Mosaic, look_of, tokens_of
from napari_hmkd.inspection.pair import StainPair
from napari_hmkd.inspection.slide import InspectedTile, TileRow, row_of
from napari_hmkd.inspection.tile import LEVELS, Tile, token_side_px
from napari_hmkd.output_folder import FolderKind, replaced_folder, write_json
from napari_hmkd.planning import PlannedRegion

SUMMARY_FILE = "attention.json"
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
ENDING = ".attention"
"""Of a slide's folder, after its name."""

_SHOWN = 3  # tiles in the figure
_CHUNK = 2048
Step = InspectedTile | FailedTile | CheckedTile


def write_attention(
    pair: StainPair,
    inspected: Iterable[InspectedTile | FailedTile],
    folder: Path,
    about: dict[str, Any],
    alignment: Alignment | None = None,
    check: ImportanceCheck | None = None,
    regions: Sequence[PlannedRegion] = (),
) -> Generator[Step, None, None]:
    """Write what comes of tiles, row by row of the grid, as it comes; all files appear, or none.

    - `attention.csv`: a `TileRow` a tile, the regions it is in, and the models' notice; `failed.csv`: the
      others, with why.
    - `attention_level_0.ome.zarr` to `_2`: a pixel per token, float32 (kinds, y, x), NaN where there is
      none; the channels are `MapKind`s.
    - `agreement.ome.zarr`: a pixel per tile, float32 (3, rows, columns), one channel a level; where the
      teacher took part.
    - `figure.png`: agreement over the slide, and the maps of the three tiles with the greatest attention
      loss; of the highest expected grade, without a teacher.
    - `alignment.json`: what the IHC was read through.
    - `attention.json`: `about`, how many tiles there are, means over each region's, and what came of the
      check.

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
    check : ImportanceCheck, optional
        Of the worst tiles.
    regions : sequence of PlannedRegion
        Marked on the H&E.

    Yields
    ------
    InspectedTile or FailedTile
        Each that was given, once it is written.
    CheckedTile
        Each that was checked, after all these.

    Raises
    ------
    OutputError
        If the folder cannot be written, or what is there is none of this kind.
    SlideError
        At the end, if not one tile could be looked into.
    """
    kinds = ALONE if pair.ihc is None else tuple(MapKind)
    shown: list[tuple[float, InspectedTile]] = []
    to_check: list[tuple[float, Tile]] = []
    first = itemgetter(0)
    with replaced_folder(folder, ATTENTION) as part, ExitStack() as files:
        maps = _MapWriter(part, pair, kinds, about)
        tables = TileTables(part, files, about["notice"], regions)
        for one in inspected:
            if isinstance(one, FailedTile):
                tables.put_failed(one)
            else:
                row = row_of(one, pair.grid)
                tables.put(row)
                maps.put(one, row)
                worst = row.student_expected if row.attention_loss is None else row.attention_loss
                shown = nlargest(_SHOWN, [*shown, (worst, one)], first)
                if check is not None:
                    to_check = nlargest(check.tiles, [*to_check, (worst, one.tile)], first)
            yield one
        tables.require_any(pair)
        maps.close()
        files.close()
        checked: list[CheckedTile] = []
        for step in () if check is None else check.run(pair, [tile for _, tile in to_check]):
            checked.append(step)
            yield step
        said = importance_words(checked, with_teacher=pair.ihc is not None)
        chosen = [one for _, one in shown]
        write_figure(pair, maps.agreement(), chosen, about, part / FIGURE_FILE, said)
        if alignment is not None:
            save_alignment(part / ALIGNMENT_FILE, alignment)
        found: dict[str, object] = {"importance": importance_entry(checked)} if checked else {}
        write_json(part / SUMMARY_FILE, about | tables.counts() | found)


class _MapWriter:
    """Keeps one row of tiles, and writes it when the next one begins."""

    def __init__(
        self, folder: Path, pair: StainPair, kinds: tuple[MapKind, ...], about: dict[str, Any]
    ) -> None:
        self._grid, self._kinds, self._about = pair.grid, kinds, about
        self._slide = pair.he.name
        self._sides = [pair.grid.tile_px // token_side_px(level) for level in LEVELS]
        self._stores = [
            self._make(folder / name, side, [(kind, look_of(kind, side).limits) for kind in kinds])
            for name, side in zip(MAP_STORES, self._sides, strict=True)
        ]
        self._agreement: zarr.Array | None = None
        if len(kinds) > 1:
            channels = [(f"agreement, level {level}", (0.0, 1.0)) for level in LEVELS]
            self._agreement = self._make(folder / AGREEMENT_STORE, 1, channels)
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
        self, path: Path, side: int, channels: list[tuple[str, tuple[float, float]]]
    ) -> zarr.Array:
        step_px = (self._grid.step_px[0] / side, self._grid.step_px[1] / side)
        shown = [
            (name, colour, limits)
            for (name, limits), colour in zip(channels, CHANNEL_COLOURS, strict=False)
        ]
        name = f"{path.name.removesuffix('.ome.zarr').replace('_', ' ')} ({self._slide})"
        group = create_image(path, step_px, self._grid.slide_mpp, name, shown, self._about)
        width = self._grid.columns * side
        return group.create_array(
            LEVEL,
            shape=(len(channels), self._grid.rows * side, width),
            dtype=np.float32,
            chunks=(1, side, min(width, _CHUNK)),
            fill_value=np.nan,
            dimension_names="cyx",
        )
