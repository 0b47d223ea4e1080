"""How much memory grading takes, on slides that differ in nothing but their size.

Each is graded in a process of its own (`grading_memory.py`), the same number of tiles. Tissue covers 0.8
of each slide's width, 0.25 um/px, so that the largest one is 25 mm wide; level 0 has it in the middle only.

    HMKD_BENCHMARK=full pytest -s tests/benchmarks/test_grading_memory.py

compares slides of 10,000, 50,000 and 100,000 px; the suite one of 20,000 px with the first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="needs psutil, which comes with napari")

from tests.benchmarks.drawn_slides import write_sparse
from tests.benchmarks.timing import FULL, print_table

SIDES_PX = (10_000, 50_000, 100_000) if FULL else (10_000, 20_000)
BATCHES = 3 if FULL else 1
MOST = 1.15
"""The peak over that of the smallest slide, the program itself included."""


def grade(side_px: int, folder: Path) -> dict:
    path = folder / f"{side_px} px.tif"
    write_sparse(path, side_px, {1: 4500 / side_px, 4: 0.4, 16: 0.4, 64: 0.4}, 0.25, drawn_mpp=2.0)
    script = [sys.executable, "-m", f"{__package__}.grading_memory"]
    run = subprocess.run(
        [*script, str(path), str(folder / f"results {side_px}"), str(BATCHES)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    path.unlink()
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.timeout(600)
def test_peak_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    graded = {side_px: grade(side_px, tmp_path) for side_px in SIDES_PX}
    steps = list(graded[SIDES_PX[0]]["most_mb"])
    print_table(
        f"Most memory until each step of grading {graded[SIDES_PX[0]]['tiles']} tiles, MB",
        ["slide", *steps],
        [
            [f"{side_px} px", *(f"{found['most_mb'][step]:.0f}" for step in steps)]
            for side_px, found in graded.items()
        ],
    )
    assert len({found["tiles"] for found in graded.values()}) == 1
    peaks_mb = [found["most_mb"]["written"] for found in graded.values()]
    assert max(peaks_mb) <= MOST * peaks_mb[0]
