"""How many GPUs a run takes, and which; and processes that lose each other."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.device import device_errors
from napari_hmkd.errors import DeviceError
from napari_hmkd.training.config import ParallelComputeSettings
from napari_hmkd.training.engine import lost_partners, resolve_devices


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


GLOO = (
    "[third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:7573"
)


@pytest.mark.parametrize(
    "error",
    [RuntimeError(GLOO), torch.distributed.DistBackendError("NCCL communicator was aborted")],
)
def test_a_process_that_is_gone_is_no_failure_of_the_device(error: RuntimeError) -> None:
    cpu = torch.device("cpu")
    with (
        pytest.raises(DeviceError, match=r"another of the 2 processes .* --resume goes on") as told,
        device_errors(cpu),
        lost_partners(2),
    ):
        raise error
    assert "fit its card" not in str(told.value)


@pytest.mark.parametrize(
    ("ranks", "error"), [(1, RuntimeError(GLOO)), (2, RuntimeError("mat1 and mat2"))]
)
def test_a_failure_of_the_network_is_no_lost_process(ranks: int, error: RuntimeError) -> None:
    with pytest.raises(RuntimeError) as raised, lost_partners(ranks):
        raise error
    assert raised.value is error
