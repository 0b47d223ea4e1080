"""How many GPUs a run takes, and which."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import DeviceError
from napari_hmkd.training.config import ParallelComputeSettings
from napari_hmkd.training.engine import resolve_devices


@pytest.fixture
def one_old_gpu_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80"])
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda name: (6, 1) if name == "cuda:0" else (8, 6)
    )


@pytest.mark.usefixtures("one_old_gpu_of_three")
def test_a_gpu_that_torch_is_not_built_for_is_none_of_several() -> None:
    device = torch.device("cuda:1")
    assert resolve_devices(ParallelComputeSettings(devices=2), device) == [1, 2]
    with pytest.raises(DeviceError, match="torch finds cuda:1, cuda:2 here"):
        resolve_devices(ParallelComputeSettings(devices=3), device)
