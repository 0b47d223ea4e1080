"""A thread keeps the memory that it computes blocks in."""

from __future__ import annotations

import threading

import torch

from napari_hmkd.model.scratch import MOST_KEPT_BYTES, scratch

SHAPES = (3, 4), (2, 5)


def places(*tensors: torch.Tensor) -> list[int]:
    return [one.data_ptr() for one in tensors]


def test_a_thread_has_the_same_memory_again() -> None:
    like = torch.zeros(1)
    first = scratch(like, *SHAPES)
    assert [one.shape for one in first] == list(SHAPES)
    assert len(set(places(*first))) == len(SHAPES)
    assert places(*scratch(like, (2, 2), (1, 5))) == places(*first)


def test_other_threads_and_dtypes_have_other_memory() -> None:
    mine = scratch(torch.zeros(1), *SHAPES)
    found = scratch(torch.zeros(1, dtype=torch.float64), *SHAPES)
    other = threading.Thread(target=lambda: found.extend(scratch(torch.zeros(1), *SHAPES)))
    other.start()
    other.join()
    assert [one.dtype for one in found] == [torch.float64] * 2 + [torch.float32] * 2
    assert not set(places(*found)) & set(places(*mine))


def test_memory_of_inference_serves_outside_of_it() -> None:
    def ask() -> list[torch.Tensor]:
        return scratch(torch.zeros(1), (1000,))

    with torch.inference_mode():
        (first,) = ask()
        first.fill_(1)
    (again,) = ask()
    again.fill_(2)
    assert places(again) == places(first)


def test_what_is_large_is_not_kept() -> None:
    elements = MOST_KEPT_BYTES // 4 + 1
    (large,) = scratch(torch.zeros(1), (elements,))
    (other,) = scratch(torch.zeros(1), (elements,))
    assert places(large) != places(other)
