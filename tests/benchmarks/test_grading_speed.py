"""Grading a slide, from its file to the results, beside a plain loop over the same tiles.

The rival is `plain_loop.py`: OpenSlide, Pillow and torch in one thread, and one table at the end. Ours is
what button and command line call: it also looks at stain and focus, knows the slide again, keeps what
the cells say, and writes a report, pictures, and more. For both the tissue was found before.

The shares say for how long threads were in a part of the work, over the time of the whole; normalising is
the network's. Those of the loop add up to nearly all; ours reads and resamples in threads beside the
network, so that they may be more, and each longer, where threads share a core.

The suite runs a small form, whose bound leaves room for a busy machine. On one that does nothing else

    HMKD_BENCHMARK=full pytest -s tests/benchmarks/test_grading_speed.py

holds us to 0.95 of the plain loop's rate on a CPU, and on a GPU reader or device to being at work for
85 % of the time. What is done once a slide counts where the slide is as large as a section.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.benchmarks.drawn_slides import KINDS, MPP, write_sparse
from tests.benchmarks.plain_loop import BATCH, Clock, PlainLoop, write_csv
from tests.benchmarks.timing import FULL, ROUNDS, Ratio, interleaved, print_table, time_ratio

from napari_hmkd import inference
from napari_hmkd.device import available_devices, mixed_precision
from napari_hmkd.export import write_results
from napari_hmkd.grading import OpenModel, SlideGrading, open_model, start_grading
from napari_hmkd.model.replay import Replay
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import TissueMask, find_tissue, open_slide
from napari_hmkd.slide import slide as slide_module
from napari_hmkd.slide.loading.cache import TileCache
from napari_hmkd.slide.loading.level_reader import LevelReader

MOST = 1 / 0.95 if FULL else 4.0
LEAST_BUSY = 0.85
SECTION_PX, SMALL_PX = 20_480, 2048
REAL = ["cmu-1-small-region.svs", *(["her2st_C3_generic.tif"] if FULL else [])]
PARTS = ("read", "transform", "infer", "write")
DEVICES = [name for name in available_devices() if name in ("cuda:0", "cpu")]


@dataclass(frozen=True)
class Job:
    """A slide to be graded; `mpp` is its pixel size, where another one than the file's is stated."""

    path: Path
    tissue: TissueMask
    model: OpenModel
    device: str
    clock: Clock
    out: Path
    mpp: float | None = None

    def ours(self) -> SlideGrading:
        """The product's path."""
        with self.clock.part("all"), open_slide(self.path, self.mpp, cache=TileCache()) as slide:
            settings = GradeSettings(BATCH, self.device, "float32")
            grading = start_grading(slide, self.model, settings, self.tissue)
            self.clock.seconds["infer"] = 0  # so far, a GPU was made ready
            with self.clock.part("loop"):
                for _ in grading.run():
                    continue
            with self.clock.part("write"):
                write_results(grading, self.out / "results")
        return grading

    def plain(self, like: SlideGrading) -> np.ndarray:
        """Probabilities of the tiles of a grading, by the plain loop: float32 (n, 4)."""
        tiles = [(row, column) for row, column in like.plan.tiles.tolist()]
        with self.clock.part("all"):
            loop = PlainLoop(self.path, like.plan.grid, self.model, self.clock)
            with self.clock.part("loop"):
                probabilities = loop.grade(tiles)
            with self.clock.part("write"):
                write_csv(self.out / "plain.csv", tiles, probabilities)
            loop.close()
        return probabilities


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It is told what our path does; the plain loop tells by itself."""
    clock = Clock()

    def ask(*arguments: object) -> object:
        answer = plainly(*arguments)
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # not inside: what is recorded must not wait
        return answer

    plainly = Replay.__call__
    monkeypatch.setattr(Replay, "__call__", clock.timed("infer", ask))
    for owner, name, part in (
        (inference, "read_tile", "tile"),
        (LevelReader, "read", "read"),
        (slide_module, "resample", "transform"),
    ):
        monkeypatch.setattr(owner, name, clock.timed(part, getattr(owner, name)))
    return clock


@pytest.fixture
def make_job(clock: Clock, tmp_path: Path) -> Callable[..., Job]:
    """A job for a path, a device and perhaps a pixel size."""

    def make(path: Path, device: str, mpp: float | None = None) -> Job:
        path.read_bytes()  # the system's cache is warm for both
        with open_slide(path, mpp, cache=TileCache()) as slide:
            return Job(path, find_tissue(slide), open_model(), device, clock, tmp_path, mpp)

    return make


def graded_alike(job: Job) -> SlideGrading:
    """Ours, after it was found to agree with the plain loop."""
    grading = job.ours()
    plan, plain = grading.plan, job.plain(grading)
    size = plan.slide.size
    inside = (plan.grid.origins(plan.tiles + 1) <= (size.height, size.width)).all(axis=1)
    ours = grading.heatmap.probabilities[tuple(plan.tiles.T)]
    # Beyond the slide the plain loop sees black; elsewhere it is up to half a pixel off.
    np.testing.assert_allclose(ours[inside], plain[inside], atol=0.05)
    return grading


def compare(job: Job) -> tuple[Ratio, Ratio]:
    """Our time over the plain loop's: of all, and from the first read to the last grade."""
    like = graded_alike(job)
    ways = {"napari-hmkd": job.ours, "plain loop": partial(job.plain, like)}
    spent = {name: Counter[str]() for name in ways}
    loop_s: dict[str, list[float]] = {name: [] for name in ways}

    def run(name: str, number: int) -> float:
        job.clock.seconds.clear()
        ways[name]()
        spent[name] += job.clock.seconds
        loop_s[name].append(job.clock.seconds["loop"])
        return job.clock.seconds["all"]

    all_s = interleaved({name: partial(run, name) for name in ways})
    whole = time_ratio(*all_s.values())
    loop = time_ratio(*map(np.array, loop_s.values()))
    rows = []
    for name, of in spent.items():
        speeds = [f"{ROUNDS * len(like.plan.tiles) / of[part]:.1f}" for part in ("all", "loop")]
        rows.append([name, *speeds, *(f"{of[part] / of['all']:.0%}" for part in PARTS)])
    print_table(
        f"{job.path.name}, {len(like.plan.tiles)} tiles on {job.device}: {whole} times the plain "
        f"loop, {loop} from the first read to the last grade",
        ["", "tiles/s", "first to last", *PARTS],
        rows,
    )
    if job.device != "cpu":
        hold_busy(spent["napari-hmkd"], like.plan.slide.reader.threads.count)
    return whole, loop


def hold_busy(seconds: Counter[str], threads: int) -> None:
    """The reading threads, or the device, are at work nearly all of the time."""
    reader, device = seconds["tile"] / threads / seconds["loop"], seconds["infer"] / seconds["loop"]
    print(f"{threads} threads that read are at work {reader:.0%} of the time, the GPU {device:.0%}")
    assert not FULL or max(reader, device) >= LEAST_BUSY


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("device", DEVICES)
def test_a_section_is_graded_as_quickly_as_by_a_plain_loop(
    device: str, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    path = tmp_path / "Schnitt.tif"
    write_sparse(path, SECTION_PX if FULL else SMALL_PX, {1: 1.0, 4: 1.0, 16: 1.0}, MPP)
    whole, loop = compare(make_job(path, device))
    assert device != "cpu" or (whole if FULL else loop).low <= MOST


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", REAL)
def test_real_slides_are_graded_as_quickly_as_by_a_plain_loop(
    name: str, device: str, shared_data: Path, make_job: Callable[..., Job]
) -> None:
    path = shared_data / "slides" / name
    if not path.exists():
        pytest.skip(f"needs {name}")
    _, loop = compare(make_job(path, device))
    assert device != "cpu" or loop.low <= MOST


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["JPEG TIFF", "Aperio SVS"])
def test_equal_pixels_get_equal_grades(
    kind: str, device: str, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    suffix, writer = KINDS[kind]
    path = tmp_path / f"slide.{suffix}"
    writer(path, SMALL_PX // 2)
    job = make_job(path, device, mpp=open_model().card.mpp)
    grading = job.ours()
    plan, ours = grading.plan, grading.heatmap.probabilities[tuple(grading.plan.tiles.T)]
    assert plan.grid.step_px == (plan.grid.tile_px, plan.grid.tile_px)
    assert np.ptp(ours, axis=0).max() > 0.01
    with mixed_precision(torch.device(device), "float32"):  # as ours
        np.testing.assert_allclose(ours, job.plain(grading), atol=1e-5)
