"""A network's kernels on a GPU, recorded once and launched at once from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import torch

Answer = TypeVar("Answer")
Given = ParamSpec("Given")

MOST_RECORDED = 4
"""Kinds of calls, each of which keeps the memory that its answer took."""


class Replay(Generic[Given, Answer]):
    """A function of tensors, whose work on a CUDA device is recorded and replayed (CUDA graphs).

    These networks launch thousands of small kernels: to call for them takes Python longer than a GPU takes
    for all of them. Of each kind of call, by shapes and types of its tensors and by its other arguments,
    the first is as it is, the second is recorded, and all others are replayed. On other devices every call
    is as it is.

    What a recorded call returns is overwritten by the next one of its kind.

    Parameters
    ----------
    function : callable
        Takes tensors, and settings that can be hashed, without keywords. What it computes follows from
        shapes, not from values, and it leaves no tensor on another device. Networks that it calls stay
        where they are; autocast is without its cache, which would not outlive the call.
    """

    def __init__(self, function: Callable[Given, Answer]) -> None:
        self._function = function
        self._seen: set[tuple[object, ...]] = set()
        self._recorded: dict[tuple[object, ...], Callable[[list[torch.Tensor]], Answer]] = {}

    def __call__(self, *given: Given.args, **named: Given.kwargs) -> Answer:
        """The function's answer."""
        tensors = [x for x in given if isinstance(x, torch.Tensor)]
        if named or not tensors or any(x.device.type != "cuda" for x in tensors):
            return self._function(*given, **named)
        kind = (
            torch.is_autocast_enabled("cuda"),
            torch.is_grad_enabled(),
            *((x.shape, x.dtype, x.device) if isinstance(x, torch.Tensor) else x for x in given),
        )
        if kind in self._recorded:
            return self._recorded[kind](tensors)
        if kind in self._seen and len(self._recorded) < MOST_RECORDED:
            self._recorded[kind] = _record(self._function, given)
            return self._recorded[kind](tensors)
        self._seen.add(kind)
        return self._function(*given, **named)

    def forget(self) -> None:
        """Give back the memory of what is recorded, as where a network moves."""
        self._recorded.clear()
        self._seen.clear()


def _record(
    function: Callable[..., Answer], given: tuple[Any, ...]
) -> Callable[[list[torch.Tensor]], Answer]:
    """A call with the same kind of arguments, which replays."""
    held = [x.clone() if isinstance(x, torch.Tensor) else x for x in given]
    graph = torch.cuda.CUDAGraph()
    # Other threads read ahead meanwhile, into memory that they pin.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        answer = function(*held)
    places = [x for x in held if isinstance(x, torch.Tensor)]

    def replay(tensors: list[torch.Tensor]) -> Answer:
        for place, tensor in zip(places, tensors, strict=True):
            place.copy_(tensor, non_blocking=True)
        graph.replay()
        return answer

    return replay
