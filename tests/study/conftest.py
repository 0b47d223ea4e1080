"""Scores and result folders of small studies."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

NOTICE = "painted squares, research use only"
COLUMNS = "row,column,y_px,x_px,tissue_fraction,p_0,p_1,p_2,p_3,grade,expected_grade,notice".split(
    ","
)
NAMES = ("0", "1+", "2+", "3+")
Tile = tuple[float, int, float]  # tissue fraction, grade, expected grade


def sha256(text: str) -> str:
    """A fingerprint."""
    return hashlib.sha256(text.encode()).hexdigest()


def areas(*area_mm2: float) -> dict[str, dict[str, float]]:
    """Tissue of each grade, as a summary has it."""
    return {name: {"area_mm2": area} for name, area in zip(NAMES, area_mm2, strict=True)}


@pytest.fixture
def write_scores(tmp_path: Path) -> Callable[[str], Path]:
    """Write lines below the usual header."""

    def write(lines: str, header: str = "slide,region,reader,score") -> Path:
        path = tmp_path / "Befunde ä.csv"
        path.write_text(f"{header}\n{lines}", encoding="utf-8", newline="")
        return path

    return write


@pytest.fixture
def write_result(tmp_path: Path) -> Callable[..., Path]:
    """Write the summary and the table of a result folder: tiles in a row, of 1 mm2 each."""

    def write(
        slide: str,
        tiles: Sequence[Tile] = ((1.0, 2, 2.0),),
        *,
        below: str = "out",
        unreadable: int = 0,
        fingerprint: str = "",
        **more: Any,
    ) -> Path:
        folder = tmp_path / below / slide
        folder.mkdir(parents=True)
        tissue = sum(tile[0] for tile in tiles)
        summary = {
            "notice": NOTICE,
            "warnings": [NOTICE],
            "graded_tiles": len(tiles),
            "unreadable_tiles": [
                {"row": 0, "column": len(tiles) + k, "reason": "damaged"} for k in range(unreadable)
            ],
            "expected_grade": sum(t * e for t, _, e in tiles) / tissue if tiles else None,
            "grades": areas(*(sum(t for t, g, _ in tiles if g == k) for k in range(4))),
            "complete": True,
            "regions": [],
            "slide": {
                "name": slide,
                "fingerprint": fingerprint or sha256(slide),
                "mpp": [0.5, 0.5],
                "height_px": 512,
                "width_px": 4096,
            },
            "tiles": {
                "step_level0_px": [512.0, 512.0],
                "overlap": 1,
                "only_in_regions": False,
                "rows": 1,
                "columns": len(tiles) + unreadable + 1,
            },
            "model": {"name": "colours", "sha256": "0123"},
        }
        text = json.dumps(summary | more, ensure_ascii=False)
        (folder / "summary.json").write_text(text, encoding="utf-8")
        with (folder / "tiles.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            for column in range(len(tiles) + unreadable):
                place = {"row": 0, "column": column, "y_px": 0, "x_px": 512 * column}
                cells = {"tissue_fraction": 1.0, "notice": NOTICE}
                if column < len(tiles):
                    tissue, grade, expected = tiles[column]
                    cells |= {"tissue_fraction": tissue, "grade": grade, "expected_grade": expected}
                    cells |= {f"p_{k}": int(k == grade) for k in range(4)}
                table.writerow(place | cells)
        return folder

    return write
