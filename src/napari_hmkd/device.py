"""The compute device: which there are, which to take, and its failures as this package's errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from napari_hmkd.errors import DeviceError

Result = TypeVar("Result")

_NO_MEMORY = re.compile(r"out of memory|not enough memory|allocate memory", re.IGNORECASE)
PRECISIONS = ("auto", "float32", "bfloat16")
_BUILT_FOR = re.compile(r"(sm|compute)_(\d+)(\d)(a?)")
_BFLOAT16_SINCE = (8, 0)  # compute capability; older GPUs only emulate it, slower than float32


def available_devices() -> tuple[str, ...]:
    """Names of this machine's devices, the fastest kind first; the CPU is always the last."""
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*(f"cuda:{index}" for index in cuda), *mps, "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name.

    Parameters
    ----------
    name : str
        "auto" (CUDA before Apple's MPS before the CPU), "cuda", "cuda:1", "mps" or "cpu". The first does
        without GPUs that are too old, or too new, for the installed torch.

    Raises
    ------
    DeviceError
        If this machine has no such device, or torch was built without it.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(next(one for one in available if is_built_for(one)))
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise DeviceError(
            f"asked for the device {name!r}; torch finds {', '.join(available)} here; "
            "choose one of these or 'auto', or install the torch build for your GPU"
        )
    if not is_built_for(wanted):
        raise DeviceError(
            f"asked for the device {name!r}, of compute capability "
            f"{'.'.join(map(str, torch.cuda.get_device_capability(wanted)))}; the installed torch is built "
            f"for {', '.join(torch.cuda.get_arch_list())}; choose 'auto' or 'cpu', or install a torch build "
            "for your GPU"
        )
    return torch.device(wanted)


def is_built_for(name: str) -> bool:
    """Whether the installed torch has kernels for a device: for a CUDA GPU of another make it fails at the first.

    Code for sm_75 runs on 7.5 and on what may follow it below 8.0, for sm_90a on 9.0 alone; of compute_75
    all later GPUs make theirs.
    """
    built_for = [found for one in torch.cuda.get_arch_list() if (found := _BUILT_FOR.match(one))]
    if not (name.startswith("cuda") and built_for):  # AMD's GPUs have other names
        return True
    try:
        has = torch.cuda.get_device_capability(name)
    except RuntimeError:  # what is wrong with it is said once it is to compute
        return True
    for kind, major, minor, alone in map(re.Match.groups, built_for):
        least = (int(major), int(minor))
        if least == has or (
            least < has and not alone and (kind == "compute" or least[0] == has[0])
        ):
            return True
    return False


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def to_device(tiles: Sequence[np.ndarray] | np.ndarray, device: torch.device) -> torch.Tensor:
    """Arrays of one shape and dtype, together on a device: (n, ...).

    CUDA copies them by itself from memory that stays where it is, several times as fast as from other.
    """
    shape, is_cuda = (len(tiles), *tiles[0].shape), device.type == "cuda"
    dtype = torch.from_numpy(np.empty(0, tiles[0].dtype)).dtype  # torch takes no read-only array
    together = torch.empty(shape, dtype=dtype, pin_memory=is_cuda)
    np.stack(list(tiles), out=together.numpy())
    return together.to(device, non_blocking=is_cuda)


def copied_to(device: torch.device | str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on a device; CUDA copies it from pinned memory while the CPU goes on.

    Apple's MPS, asked for the same, may copy what has since been written to that memory (pytorch, issue
    189690).
    """
    return tensor.to(device, non_blocking=torch.device(device).type == "cuda")


def begin_on(device: torch.device, work: Callable[..., Result], *given: object) -> Future[Result]:
    """Begin work in the one thread that asks a GPU, after what was begun there before.

    torch keeps cuDNN's plans of convolutions for the thread that made them alone, and for each shape: those
    of a student took 3 s in each new thread (H100, torch 2.11, cuDNN 9, 2026-11-27).
    """
    return _thread_of(torch.device(device.type, device.index or 0)).submit(work, *given)


def done_on(device: torch.device, work: Callable[..., Result], *given: object) -> Result:
    """The result of work on a device: of a GPU in its thread (`begin_on`), of a CPU in this one.

    Two threads that compute on Apple's MPS at once can end the process (pytorch, issue 197805).
    """
    if device.type == "cpu":
        return work(*given)
    return begin_on(device, work, *given).result()


@cache
def _thread_of(device: torch.device) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=str(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether this is a GPU that computes bfloat16 natively."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _BFLOAT16_SINCE


def choose_precision(device: torch.device, name: str = "auto") -> str:
    """The arithmetic of that name: "float32" or "bfloat16".

    Parameters
    ----------
    device : torch.device
        Where it is for.
    name : str
        "auto" takes bfloat16 on the GPUs that compute it natively, float32 everywhere else.

    Raises
    ------
    DeviceError
        If there is no such name.
    """
    if name == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    if name not in PRECISIONS:
        raise DeviceError(
            f"asked for the precision {name!r}; there are {', '.join(PRECISIONS)}; choose one of these"
        )
    return name


def mixed_precision(
    device: torch.device, precision: str = "auto"
) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where `choose_precision` says so, full float32 everywhere else.

    Of CUDA's convolutions, too, which round to the ten bits of tf32 otherwise: on an H100 logits were up to
    6e-4 of the largest off, and 3e-6 so (2026-11-26).
    """
    if choose_precision(device, precision) == "bfloat16":
        # Each weight is cast once, and what is recorded (`Replay`) outlives the cache.
        return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
    return _WITHOUT_TF32 if device.type == "cuda" else nullcontext()


class _SwitchedOff:
    """A switch of cuDNN's off for the whole process, while any of its threads is inside."""

    def __init__(self, switch: str) -> None:
        self._switch, self._lock, self._inside, self._before = switch, Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = getattr(torch.backends.cudnn, self._switch)
                setattr(torch.backends.cudnn, self._switch, False)
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                setattr(torch.backends.cudnn, self._switch, self._before)


_WITHOUT_TF32 = _SwitchedOff("allow_tf32")
_WITHOUT_CUDNN = _SwitchedOff("enabled")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether a failure of torch was for want of memory; only CUDA's has a class of its own."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and _NO_MEMORY.search(str(error).partition("\n")[0]) is not None
    )


def own_kernels(device: torch.device) -> AbstractContextManager[object]:
    """Convolutions of a CUDA device by torch's own kernels, for those that cuDNN has to compile first.

    It compiles depthwise ones, for each shape and in each thread anew (NVIDIA/cudnn-frontend, issue 1066):
    the first batch of the demo student took 6.8 s on an H100, 4.9 of them these, which torch's own kernels
    began with in 0.01 s (torch 2.11, cuDNN 9, 2026-11-27).
    """
    return _WITHOUT_CUDNN if device.type == "cuda" else nullcontext()


@contextmanager
def device_errors(device: torch.device) -> Iterator[None]:
    """Turn torch's failures into `DeviceError`: a napari worker swallows a RuntimeError and hangs.

    Raises
    ------
    DeviceError
        In place of any RuntimeError or MemoryError raised inside.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        advice = (
            "use a smaller batch size, or close other programs that use this device"
            if is_out_of_memory(error)
            else "try the device 'cpu'; if it fails there too, the model does not fit its card"
        )
        raise DeviceError(f"the network failed on {device}: {reason}; {advice}") from error
