"""Choosing a device, and torch's failures as errors of this package."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import get_ident

import numpy as np
import pytest
import torch
from torch import nn
from torch.backends import cudnn

from napari_hmkd.device import (
    available_devices,
    begin_on,
    choose_device,
    device_errors,
    device_of,
    done_on,
    has_bfloat16,
    mixed_precision,
    own_kernels,
    to_device,
)
from napari_hmkd.errors import DeviceError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Pretend that this machine has so many CUDA devices, and MPS or not."""
    cuda, mps = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("machine", "chosen"),
    [((2, True), "cuda:0"), ((0, True), "mps"), ((0, False), "cpu")],
    indirect=["machine"],
)
@pytest.mark.usefixtures("machine")
def test_auto_takes_the_fastest_kind(chosen: str) -> None:
    assert choose_device() == torch.device(chosen)
    assert available_devices()[-1] == "cpu"


@pytest.mark.parametrize("machine", [(2, False)], indirect=True)
@pytest.mark.usefixtures("machine")
def test_a_device_can_be_named() -> None:
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("built_for", "capability", "runs"),
    [
        (["sm_75", "sm_80", "sm_90"], (8, 6), True),
        (["sm_75", "sm_80", "sm_90"], (7, 0), False),
        (["sm_75", "sm_80", "sm_90"], (6, 1), False),
        (["sm_75", "sm_80", "sm_90"], (12, 0), False),
        (["sm_75", "sm_80", "compute_80"], (12, 0), True),
        (["sm_75", "sm_90a", "compute_90"], (8, 0), False),
        (["sm_75", "sm_100a", "sm_80"], (10, 3), False),
        (["gfx90a", "gfx942"], (9, 4), True),
        ([], (8, 0), True),
    ],
)
@pytest.mark.parametrize("machine", [(2, False)], indirect=True)
@pytest.mark.usefixtures("machine")
def test_auto_does_without_a_gpu_that_torch_is_not_built_for(
    built_for: list[str],
    capability: tuple[int, int],
    runs: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda name: {"cuda:0": capability}.get(name, (8, 0))
    )
    other = "cuda:1" if "sm_80" in built_for else "cpu"
    assert choose_device() == torch.device("cuda:0" if runs else other)
    if runs:
        assert choose_device("cuda") == torch.device("cuda:0")
    else:
        version = ".".join(map(str, capability))
        with pytest.raises(DeviceError, match=f"capability {version}.* built for {built_for[0]}"):
            choose_device("cuda")


def test_tests_compute_on_the_cpu_whatever_else_there_is() -> None:
    assert available_devices() == ("cpu",)


@pytest.mark.parametrize("machine", [(1, False)], indirect=True)
@pytest.mark.parametrize("name", ["cuda:1", "mps", "xpu", "", "a potato"])
@pytest.mark.usefixtures("machine")
def test_a_missing_device_is_an_error_that_names_those_there_are(name: str) -> None:
    with pytest.raises(DeviceError, match="cuda:0, cpu"):
        choose_device(name)


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "smaller batch size"),
        (RuntimeError("MPS backend out of memory"), "smaller batch size"),
        (MemoryError(), "smaller batch size"),
        (NotImplementedError("aten::op is not implemented for MPS"), "'cpu'"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "'cpu'"),
    ],
)
def test_failures_of_torch_are_no_runtime_errors(failure: Exception, advice: str) -> None:
    with pytest.raises(DeviceError, match=advice), device_errors(torch.device("cpu")):
        raise failure


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), device_errors(torch.device("cpu")):
        raise KeyError("a mistake in the code")


def test_a_module_is_where_its_weights_are() -> None:
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.Identity()) == torch.device("cpu")


@pytest.mark.parametrize(("capability", "mixed"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_only_a_gpu_with_native_bfloat16_computes_in_mixed_precision(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], mixed: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = torch.device("cuda:0")
    assert has_bfloat16(device) == mixed
    assert isinstance(mixed_precision(device), torch.autocast) == mixed


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_other_devices_compute_in_full_precision(name: str) -> None:
    assert not has_bfloat16(torch.device(name))
    assert not isinstance(mixed_precision(torch.device(name)), torch.autocast)


# What of cuDNN is switched off, and where.
SWITCHES = {"allow_tf32": partial(mixed_precision, precision="float32"), "enabled": own_kernels}


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize(("name", "on"), [("cuda:0", False), ("cpu", True)])
def test_on_a_gpu_float32_is_not_rounded_and_cudnn_can_be_left_alone(
    switch: str, name: str, on: bool
) -> None:
    assert getattr(cudnn, switch)
    with SWITCHES[switch](torch.device(name)):
        assert getattr(cudnn, switch) == on
    assert getattr(cudnn, switch)


def test_no_cast_of_a_weight_is_kept_for_another_call() -> None:
    assert torch.is_autocast_cache_enabled()
    with mixed_precision(torch.device("cpu"), "bfloat16"):
        assert not torch.is_autocast_cache_enabled()


@pytest.mark.parametrize("switch", SWITCHES)
def test_cudnn_stays_so_until_the_last_thread_is_done(switch: str) -> None:
    first, last = (SWITCHES[switch](torch.device("cuda:0")) for _ in range(2))
    with ExitStack() as ends_first:
        ends_first.enter_context(first)
        with last:
            ends_first.close()  # as threads may
            assert not getattr(cudnn, switch)
    assert getattr(cudnn, switch)


def test_a_gpu_is_asked_by_one_thread_in_the_order_of_asking() -> None:
    gpu, order = torch.device("meta"), []  # which stands for one
    works = [begin_on(gpu, lambda n: order.append(n) or get_ident(), n) for n in range(20)]
    with ThreadPoolExecutor(3) as askers:
        later = list(askers.map(lambda _: begin_on(gpu, get_ident).result(), range(3)))
    threads = {*(work.result() for work in works), *later}
    assert len(threads) == 1
    assert get_ident() not in threads
    assert order == list(range(20))


@pytest.mark.parametrize(("name", "elsewhere"), [("cuda:0", True), ("mps", True), ("cpu", False)])
def test_only_a_cpu_is_asked_in_the_threads_of_those_who_ask(name: str, elsewhere: bool) -> None:
    # A tensor on Apple's MPS says mps:0, and who asks for the device says mps.
    threads = {done_on(torch.device(one), get_ident) for one in (name, name.split(":")[0] + ":0")}
    assert len(threads) == 1
    assert (get_ident() not in threads) == elsewhere


def test_what_fails_on_a_gpu_is_raised_where_its_result_is_asked_for() -> None:
    gpu = torch.device("meta")
    with pytest.raises(ZeroDivisionError):
        begin_on(gpu, divmod, 1, 0).result()
    assert begin_on(gpu, divmod, 7, 2).result() == (3, 1)


def check_that_arrays_come_together(count: int, device: str) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (count, 5, 4, 3), np.uint8)
    found = to_device(list(tiles), torch.device(device))
    assert (str(found.device), found.dtype) == (device, torch.uint8)
    np.testing.assert_array_equal(found.cpu().numpy(), tiles)
    tiles[:] = 0  # it is a copy
    assert found.any()


@pytest.mark.parametrize("count", [1, 3])
def test_arrays_come_to_a_device_together(count: int) -> None:
    check_that_arrays_come_together(count, "cpu")


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("count", [1, 3])
def test_arrays_come_to_a_gpu_together(count: int) -> None:
    check_that_arrays_come_together(count, "cuda:0")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("turned", [False, True])
def test_arrays_may_be_read_only_or_turned(turned: bool) -> None:
    tile = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    tile = tile[::-1] if turned else tile
    tile.flags.writeable = False
    np.testing.assert_array_equal(to_device([tile], torch.device("cpu"))[0].numpy(), tile)
