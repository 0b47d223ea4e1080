"""A network's kernels on a GPU, recorded once and launched at once from then on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sized
from contextlib import suppress
from functools import cache
from threading import Lock
from typing import Generic, TypeVar, cast

import torch

Answer = TypeVar("Answer", bound=tuple[torch.Tensor | None, ...])

MOST_RECORDED = 4
"""Shapes, each of which keeps the memory that its answer took."""

TOLERANCE = 1e-2
"""Between a recorded answer and one that is not, of the largest value; what libraries choose may differ."""

_one_records = Lock()
"""At a time, in all of a process, as torch asks for."""


class Replay(Generic[Answer]):
    """A function of a tensor, whose work on a CUDA device is recorded and replayed (CUDA graphs).

    These networks launch thousands of small kernels: calling for them takes Python longer than a GPU takes
    for all of them. Of each shape and type of the tensor the first two calls are as they are, the second is
    recorded besides, and all others are replayed; what cannot be recorded, or answers otherwise than
    without, goes on as it is, and a warning in the log says so. On other devices every call is as it is.

    What a recorded call returns is overwritten by the next one of its kind: one thread may call at a time.

    Parameters
    ----------
    function : callable
        Returns a tuple of tensors, or None for some. What it computes follows from shapes, not from
        values, and it leaves no tensor on another device. Networks that it calls stay where they are;
        autocast is without its cache, which would not outlive the call.

    Attributes
    ----------
    full : int
        A CUDA tensor with fewer rows is filled up with its last one: each other number of rows would have
        to be planned by libraries, and recorded. The function answers each row by itself.
    """

    def __init__(self, function: Callable[[torch.Tensor], Answer]) -> None:
        self._function, self.full = function, 0
        self._seen: set[object] = set()
        self._ways: dict[object, Callable[[torch.Tensor], Answer]] = {}

    def __call__(self, x: torch.Tensor) -> Answer:
        """The function's answer."""
        if x.is_cuda and 0 < len(x) < self.full:
            missing = x[-1:].expand(self.full - len(x), *x.shape[1:])
            whole = self._answer(torch.cat([x, missing]))
            return cast(Answer, tuple(None if part is None else part[: len(x)] for part in whole))
        return self._answer(x)

    def filled(self, rows: Sized) -> int:
        """How many rows the function is asked about for so many on a GPU."""
        return max(len(rows), self.full)

    def _answer(self, x: torch.Tensor) -> Answer:
        kind = x.shape, x.dtype, x.device
        if kind in self._ways:
            return self._ways[kind](x)
        answer = self._function(x)
        if kind in self._seen and len(self._ways) < MOST_RECORDED:
            self._ways[kind] = self._recorded(x, answer)
        elif x.is_cuda:
            self._seen.add(kind)
        return answer

    def forget(self) -> bool:
        """Give back the memory of what is recorded, as where a network moves; whether there was any."""
        recorded = bool(self._ways)
        self._ways.clear()
        self._seen.clear()
        return recorded

    def _recorded(self, x: torch.Tensor, answer: Answer) -> Callable[[torch.Tensor], Answer]:
        """The function for tensors like this one, replayed if that gives its answer."""
        try:
            # Of other values: where nothing was recorded, the answer stays that of these.
            replay = _record(self._function, torch.zeros_like(x))
            if not _alike(replay(x), answer):
                raise RuntimeError("the answer is another one")
        except RuntimeError as error:
            logging.getLogger(__name__).warning(
                "kernels for %s cannot be recorded, and are called one by one: %s",
                tuple(x.shape),
                error,
            )
            return self._function
        return replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Where a GPU's work is recorded: one, as libraries keep memory for each for good.

    torch's own for this is one of the GPU that recorded first, and another GPU's work is not on it.
    """
    return torch.cuda.Stream(device)


def _record(
    function: Callable[[torch.Tensor], Answer], held: torch.Tensor
) -> Callable[[torch.Tensor], Answer]:
    """The function of what is copied into `held`."""
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    stream = _stream(held.device)
    # Where recording fails, this stream is the current one again. Other threads read ahead meanwhile.
    with _one_records, torch.cuda.stream(torch.cuda.current_stream(held.device)):
        try:
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                answer = function(held)
        except RuntimeError:
            graph.reset()
            _let_go(held.device, pool)
            raise

    def replay(x: torch.Tensor) -> Answer:
        held.copy_(x)
        graph.replay()
        return answer

    return replay


def _let_go(device: torch.device, pool: tuple[int, int]) -> None:
    """Take a pool of memory from a recording that failed, where torch has not: newer ones refuse this.

    Others keep the memory, and would empty no cache for good, as after a batch that was too large (pytorch,
    pull requests 180395 and 190348).
    """
    with suppress(AttributeError, RuntimeError):  # not public: another torch may lack them
        torch._C._cuda_endAllocateToPool(device.index, pool)
        torch._C._cuda_releasePool(device.index, pool)


def _alike(found: tuple[torch.Tensor | None, ...], wanted: tuple[torch.Tensor | None, ...]) -> bool:
    def close(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
        if a is None or b is None:
            return a is b
        largest = b.nan_to_num(0, 0, 0).abs().max().item()
        return torch.allclose(a, b, TOLERANCE, TOLERANCE * largest, equal_nan=True)

    return all(map(close, found, wanted))
