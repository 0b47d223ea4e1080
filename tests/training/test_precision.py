"""`auto` trains in the arithmetic that the device has."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training.config import Precision
from napari_hmkd.training.engine import resolve_precision


@pytest.mark.parametrize(
    ("device", "capability", "chosen"),
    [
        ("cuda:0", (8, 0), Precision.BF16),
        ("cuda:1", (9, 0), Precision.BF16),
        ("cuda:0", (7, 5), Precision.FULL),
        ("mps", (0, 0), Precision.FULL),
        ("cpu", (0, 0), Precision.FULL),
    ],
)
def test_auto_takes_bfloat16_only_where_the_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, device: str, capability: tuple[int, int], chosen: Precision
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision(Precision.AUTO, torch.device(device)) is chosen


@pytest.mark.parametrize("asked", [Precision.FULL, Precision.BF16, Precision.FP16])
def test_a_precision_that_is_named_stays(asked: Precision) -> None:
    assert resolve_precision(asked, torch.device("cpu")) is asked
