"""A slide graded in a process of its own: `python -m tests.benchmarks.grading_memory SLIDE OUT BATCHES`.

Graded are so many batches nearest the slide's middle, as by the button, and freed memory is kept, as by
the command line. It prints a line of JSON: how many tiles these were, and the most memory that the
process had held, in units of 2**20 bytes, when each step was over.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import psutil
from tests.benchmarks.timing import MB, PeakMemory

from napari_hmkd.export import write_results
from napari_hmkd.geometry import Region
from napari_hmkd.grading import open_model, start_grading
from napari_hmkd.memory import keep_freed_memory
from napari_hmkd.planning import GradeSettings
from napari_hmkd.queueing import TileQueue
from napari_hmkd.slide import find_tissue, open_slide


def main(path: str, out: str, batches: int) -> None:
    """Grade, and tell."""
    keep_freed_memory()
    imported = psutil.Process().memory_info().rss / MB
    most = {"imported": imported}
    with PeakMemory() as memory:
        model, slide = open_model(), open_slide(path)
        most["opened"] = imported + memory.mb
        tissue = find_tissue(slide)
        most["tissue"] = imported + memory.mb
        grading = start_grading(slide, model, GradeSettings(device="cpu"), tissue)
        most["ready"] = imported + memory.mb
        middle = slide.size.height // 2, slide.size.width // 2
        queue = TileQueue((middle, Region(*middle, 1, 1)))
        tiles = sum(len(batch.tiles) for batch in islice(grading.run(queue), batches))
        most["graded"] = imported + memory.mb
        write_results(grading, Path(out))
        most["written"] = imported + memory.mb
    print(json.dumps({"tiles": tiles, "most_mb": most}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
