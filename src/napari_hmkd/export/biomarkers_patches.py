"""The table of `patches.csv` and `patches.parquet`: each patch's attention for each target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.export.provenance import KEY


def patch_table(run: SlideBiomarkers, about: Mapping[str, Any]) -> pa.Table:
    """A row per patch, by row and column.

    Parameters
    ----------
    run : SlideBiomarkers
        Run to its end.
    about : mapping
        What the table's metadata hold as JSON under "napari_hmkd", plain values.

    Returns
    -------
    pyarrow.Table
        `row` and `column`, int64; `y_px` and `x_px`, the top-left corner in level-0 px, float64;
        `attention_TARGET` for each target, float32, which sums to 1; `answered_by` and `notice`, texts.
    """
    tiles = run.extraction.encoded_tiles()
    origins = run.extraction.plan.grid.origins(tiles)
    columns = {
        "row": tiles[:, 0],
        "column": tiles[:, 1],
        "y_px": origins[:, 0],
        "x_px": origins[:, 1],
        **{f"attention_{one.target.name}": one.attention for one in run.predictions},
        "answered_by": [run.answered_by] * len(tiles),
        "notice": [run.notice] * len(tiles),
    }
    return pa.table(columns).replace_schema_metadata({KEY: json.dumps(about, ensure_ascii=False)})
