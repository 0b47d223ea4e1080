"""Reading level 0 of slides: ours beside OpenSlide, tifffile, zarr, fastslide, tiffslide, napari-wsi.

Each reader has a process of its own, see `slide_readers.py`, which also says how to get the peers and
to run the full form: there ours has to be level with the fastest on every kind of slide, and never
slower than OpenSlide. The suite runs a small form, whose bounds leave room for a busy machine, with the
peers that are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.benchmarks.drawn_slides import KINDS
from tests.benchmarks.slide_readers import READERS
from tests.benchmarks.timing import (
    FULL,
    MB,
    TOLERANCE,
    Seconds,
    fastest,
    interleaved,
    print_table,
    time_ratio,
)

from napari_hmkd.slide import open_slide

OURS = ("ours", "ours, first use")
SIDE_PX = 8192 if FULL else 4096  # 64 places, so that chance levels out
REGIONS = 48 if FULL else 12
THREADS = (1, 2, 8) if FULL else (2,)
MOST = TOLERANCE if FULL else 4.0  # in so small a slide every block is memory never used before
MOST_OF_OPENSLIDE = 1.0 if FULL else 2.0
REAL = ["cmu-1-small-region.svs"]
if FULL:
    REAL += ["tcga-cr-7395-01a-01-ts1.svs", "her2st_C2.ome.tif", "her2st_C3_generic.tif"]
    REAL += ["fluorescence.ndpi", "cmu-1-small-region-dicom"]


KEPT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""glibc keeps what is freed, as `napari_hmkd.memory` has it: reading is compared, not new pages."""


class Worker:
    """A reader in a process of its own, every one with the same settings for memory."""

    def __init__(self, name: str) -> None:
        self._name = name
        python = sys.executable if name in OURS else os.environ.get("HMKD_PEERS", sys.executable)
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("slide_readers.py")), name],
            env={**os.environ, **KEPT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(job), file=self._process.stdin)
        line = self._process.stdout.readline()
        assert line, f"the process of {self._name} ended: try it by hand, as slide_readers.py says"
        return json.loads(line)

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def workers() -> Iterator[dict[str, Worker]]:
    workers = {name: Worker(name) for name in READERS}
    yield workers
    for worker in workers.values():
        worker.stop()


@pytest.fixture(scope="module")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def write(kind: str) -> Path:
        suffix, writer = KINDS[kind]
        path = tmp_path_factory.mktemp("slides") / f"slide.{suffix}"
        writer(path, SIDE_PX)
        return path

    return write


def warm(path: Path) -> None:
    """Have the system keep the file in memory."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            file.read_bytes()


def present(workers: dict[str, Worker], job: dict[str, Any]) -> dict[str, Worker]:
    """The readers that can read the slide, after they did it once; all must see the same."""
    answers = {name: worker.ask(job) for name, worker in workers.items()}
    for name, answer in answers.items():
        print(f"{name}: {answer.get('version') or 'left out, ' + answer['error'].splitlines()[0]}")
    found = {name: answer for name, answer in answers.items() if "error" not in answer}
    assert "ours" in found, answers["ours"]["error"]
    for name, answer in found.items():
        assert answer["mean"] == pytest.approx(found["ours"]["mean"], abs=3), name
        assert answer["bytes"] == found["ours"]["bytes"] > 0, name
    return {name: workers[name] for name in found}


def race(readers: dict[str, Worker], job: dict[str, Any]) -> Seconds:
    """Seconds of every reader, the places of each round others."""

    def run(worker: Worker, number: int) -> float:
        return worker.ask({**job, "seed": number})["seconds"]

    return interleaved({name: partial(run, worker) for name, worker in readers.items()})


def compare(path: Path, workers: dict[str, Worker]) -> None:
    """Race all readers over a slide, print what came of it, and hold ours to its bounds."""
    warm(path)
    with open_slide(path) as slide:
        size, backend, colour = slide.size, slide.backend, slide.colour
    job = {"path": str(path), "size": [size.height, size.width], "regions": REGIONS, "seed": -1}
    readers = present(workers, {**job, "workload": "random", "threads": THREADS[-1]})
    peers = [name for name in readers if name not in OURS]
    assert peers, f"nothing to compare with on {path.name}"
    rows, late = [], []
    for workload in ("random", "sequential"):
        for threads in THREADS:
            seconds = race(readers, {**job, "workload": workload, "threads": threads})
            others = [name for name in readers if name != "ours"]
            ratios = {name: time_ratio(seconds["ours"], seconds[name]) for name in others}
            best, what = fastest(seconds, peers), f"{workload}, {threads} threads"
            own_s = f"{np.median(seconds['ours']):.3f} s"
            rows.append([what, own_s, *map(str, ratios.values()), best])
            if ratios[best].low > MOST:
                late.append(f"{what}: {ratios[best]} of {best}")
            if "openslide" in ratios and ratios["openslide"].low > MOST_OF_OPENSLIDE:
                late.append(f"{what}: {ratios['openslide']} of openslide")
    megabytes = 3 * size.height * size.width / MB
    print_table(
        f"{path.name}, {size.height} x {size.width} px, {megabytes:.0f} MB of pixels, ours with "
        f"{backend}, colours {colour}: our seconds, and over each reader's",
        ["", "ours", *(name for name in readers if name != "ours"), "fastest peer"],
        rows,
    )
    assert not late, "; ".join(late)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_ours_keeps_up_on_drawn_slides(
    kind: str, draw: Callable[[str], Path], workers: dict[str, Worker]
) -> None:
    compare(draw(kind), workers)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", REAL)
def test_ours_keeps_up_on_real_slides(
    name: str, shared_data: Path, workers: dict[str, Worker]
) -> None:
    path = shared_data / "slides" / name
    if not path.exists():
        pytest.skip(f"needs {name}")
    if path.is_dir():  # DICOM: readers take any file of the folder
        path = max(path.iterdir(), key=lambda file: file.stat().st_size)
    compare(path, workers)
