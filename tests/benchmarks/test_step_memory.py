"""An HM-KD step by blocks of rows, attention loss included, beside one that computes planes twice.

Both have the same weights and tiles; the student's `attention_form` differs, and what the teacher,
which answers by blocks in both, keeps of A. Each step is the second one of a process of its own, in
one thread, whose processor time does not count what others do; the first one has its memory measured.

    HMKD_BENCHMARK=full pytest -s tests/benchmarks/test_step_memory.py

is of the published width, the suite's form of a quarter of it.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

pytest.importorskip("psutil", reason="needs psutil, which comes with napari")
pytest.importorskip("lightning", reason="needs the extra `train`")

from tests.benchmarks.timing import FULL, ROUNDS, PeakMemory, print_table, time_ratio

from napari_hmkd.model import build_student, build_teacher
from napari_hmkd.model.planes import AttentionForm, set_recompute
from napari_hmkd.training.config import DistillationSettings
from napari_hmkd.training.methods.hmkd import Hmkd

WIDTH = 1.0 if FULL else 0.25
TILE_PX = 1024
BATCH = 2
FORMS: dict[AttentionForm, str] = {"auto": "blocks of rows", "plain": "planes, twice"}
MOST = 0.9
"""Of time and of memory, relative to planes."""


def measure(form: AttentionForm) -> tuple[float, float]:
    """Processor seconds of a step, and the peak memory of the one before it in MB."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    student = build_student(width=WIDTH, attention_form=form).train()
    teacher = build_teacher(width=WIDTH).eval().requires_grad_(False)
    set_recompute(student, recompute=True)
    set_recompute(teacher, recompute=form == "auto")  # planes are compared with planes
    method = Hmkd(DistillationSettings())
    he, ihc = torch.randn(2, BATCH, 3, TILE_PX, TILE_PX)

    def step() -> None:
        student.zero_grad()
        output = student(he, attention="rows")
        with torch.no_grad():
            taught = teacher(he, ihc, attention="rows")
        method.total(method.parts(output, taught, torch.tensor([0, 3]))).backward()

    with PeakMemory() as peak:
        step()
    started = time.process_time()
    step()
    return time.process_time() - started, peak.mb


@pytest.mark.timeout(1200)
def test_rows_take_less_of_both() -> None:
    found: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
    for _ in range(ROUNDS if FULL else 1):  # each begins processes
        for form, runs in found.items():
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                runs.append(pool.submit(measure, form).result())
    seconds, peaks_mb = (
        {form: np.array(runs)[:, i] for form, runs in found.items()} for i in (0, 1)
    )
    print_table(
        f"HM-KD step, {BATCH} tiles of {TILE_PX} px, width {WIDTH:g}, one thread of a CPU",
        ["attention by", "processor time", "over planes", "peak memory above the networks"],
        [
            [
                name,
                f"{np.median(seconds[form]):.2f} s",
                str(time_ratio(seconds[form], seconds["plain"])),
                f"{np.median(peaks_mb[form]):.0f} MB",
            ]
            for form, name in FORMS.items()
        ],
    )
    assert time_ratio(seconds["auto"], seconds["plain"]).low <= MOST
    assert np.median(peaks_mb["auto"]) <= MOST * np.median(peaks_mb["plain"])
