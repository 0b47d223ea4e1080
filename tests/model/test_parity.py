"""The networks reproduce the published program's numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_hmkd.model import build_student, build_teacher, discrepancy
from napari_hmkd.model.published import own_names, published_name

BUILDERS = {"teacher": build_teacher, "student": build_student}
# What parity/README.md says a correct float32 implementation stays under.
TOLERANCE = 2e-6
BATCH = {256: 2, 1024: 1}


@pytest.fixture(scope="module", params=sorted(BATCH))
def computed(
    request: pytest.FixtureRequest,
    published_network: Callable[[str], torch.nn.Module],
    parity_tiles: Callable[[str, int, int], torch.Tensor],
) -> dict[str, np.ndarray]:
    """Every array of one tile size that the reference names, computed by our networks."""
    side_px = request.param
    he, ihc = (parity_tiles(stain, BATCH[side_px], side_px) for stain in ("he", "ihc"))
    with torch.inference_mode():
        teacher = published_network("teacher")(he, ihc, attention=True)
        student = published_network("student")(he, attention=True)
    found = {
        f"{role}.{field}": getattr(output, field)
        for role, output in (("teacher", teacher), ("student", student))
        for field in ("logits", "pooled", "embedding")
    }
    for where, levels in (
        ("teacher.he", teacher.attention.he),
        ("teacher.ihc", teacher.attention.ihc),
        ("student.he", student.attention),
    ):
        for level, matrix in enumerate(levels):
            name = f"{where}.attention{level}"
            found[name] = matrix
            found[f"{name}.sum_of_squares"] = matrix.double().square().sum(dim=(1, 2))
    found["loss.attention"] = torch.stack(
        [
            discrepancy(s, t).sum(dim=(1, 2)).mean()
            for s, t in zip(student.attention, teacher.attention.he, strict=True)
        ]
    )
    return {f"{side_px}.{name}": value.numpy() for name, value in found.items()}


def test_reproduces_every_reference_array(computed: dict[str, np.ndarray], parity: Path) -> None:
    side = next(iter(computed)).partition(".")[0]
    with np.load(parity / "hmkd.npz") as file:
        # The other three losses come from logits and pooled features: tests/training/test_losses.
        others = {f"{side}.loss.{term}" for term in ("logits_kl", "cosine_sum", "cross_entropy")}
        wanted = {n: file[n] for n in file if n.startswith(f"{side}.") and n not in others}
    assert wanted.keys() <= computed.keys()
    errors = {n: np.abs(computed[n] - r).max() / np.abs(r).max() for n, r in wanted.items()}
    assert {n: error for n, error in errors.items() if not error < TOLERANCE} == {}


@pytest.mark.parametrize(("role", "parameters"), [("teacher", 15_394_308), ("student", 7_885_816)])
def test_published_size(role: str, parameters: int) -> None:
    assert sum(p.numel() for p in BUILDERS[role]().parameters()) == parameters


@pytest.mark.slow
@pytest.mark.parametrize(("role", "gmac"), [("teacher", 3.80), ("student", 1.79)])
def test_published_arithmetic_per_tile(role: str, gmac: float) -> None:
    with torch.device("meta"):
        network = BUILDERS[role]().eval()
        tiles = [torch.empty(1, 3, 1024, 1024)] * (2 if role == "teacher" else 1)
    with FlopCounterMode(display=False) as counter:
        network(*tiles)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, abs=0.005)


@pytest.mark.parametrize("role", BUILDERS)
def test_names_translate_both_ways(role: str, published_shapes: dict) -> None:
    own = {name: list(t.shape) for name, t in BUILDERS[role]().state_dict().items()}
    assert {published_name(name): shape for name, shape in own.items()} == published_shapes[role]
    back = own_names(own)
    assert {back[name]: shape for name, shape in published_shapes[role].items()} == own
