"""Scores and result folders of small studies."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

NOTICE = "painted squares, research use only"
COLUMNS = "row,column,y_px,x_px,tissue_fraction,p_0,p_1,p_2,p_3,grade,expected_grade,notice".split(
    ","
)
Tile = tuple[float, int, float]  # tissue fraction, grade, expected grade


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
    """Write what a study reads of a result folder."""

    def write(
        slide: str,
        tiles: Sequence[Tile] = ((1.0, 2, 2.0),),
        *,
        below: str = "out",
        unreadable: int = 0,
        **more: Any,
    ) -> Path:
        folder = tmp_path / below / slide
        folder.mkdir(parents=True)
        summary = {
            "notice": NOTICE,
            "warnings": [NOTICE],
            "graded_tiles": len(tiles),
            "slide": {"name": slide},
            "model": {"name": "colours", "sha256": "0123"},
        }
        text = json.dumps(summary | more, ensure_ascii=False)
        (folder / "summary.json").write_text(text, encoding="utf-8")
        with (folder / "tiles.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            for tissue, grade, expected in tiles:
                cells = {"tissue_fraction": tissue, "grade": grade, "expected_grade": expected}
                table.writerow({"notice": NOTICE} | cells)
            for _ in range(unreadable):
                table.writerow({"tissue_fraction": 1.0, "notice": NOTICE})
        return folder

    return write
