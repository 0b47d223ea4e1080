"""Packed bags answer as bags taken one at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hmkd.bags.packing import PackedBags, mean_within, pack, softmax_within, sum_within

Sizes = st.lists(st.integers(1, 12), min_size=1, max_size=6)
Within = Callable[[torch.Tensor, PackedBags], torch.Tensor]


def draw(sizes: list[int], dim: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(sizes))
    return [torch.randn(n, dim, dtype=torch.float64, generator=generator) for n in sizes]


@given(sizes=Sizes)
def test_offsets_sizes_and_cases_tell_the_bags_apart(sizes: list[int]) -> None:
    bags = draw(sizes)
    packed = pack(bags)
    assert len(packed) == len(bags)
    assert packed.sizes.tolist() == sizes
    assert packed.offsets.dtype == packed.case.dtype == torch.int64
    for number, (bag, start) in enumerate(zip(bags, packed.offsets, strict=False)):
        assert torch.equal(packed.features[start : start + len(bag)], bag)
        assert torch.equal(packed.features[packed.case == number], bag)


@given(sizes=Sizes)
@pytest.mark.parametrize(
    ("within", "alone"),
    [
        (sum_within, lambda bag: bag.sum(dim=0)),
        (mean_within, lambda bag: bag.mean(dim=0)),
        (
            lambda values, bags: sum_within(values, bags, softmax_within(values[:, 0], bags)),
            lambda bag: bag[:, 0].softmax(dim=0) @ bag,
        ),
    ],
    ids=["sum", "mean", "attention"],
)
def test_packed_bags_are_pooled_as_one_at_a_time(
    sizes: list[int], within: Within, alone: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    bags = [bag.requires_grad_() for bag in draw(sizes)]
    packed = pack(bags)
    found, wanted = within(packed.features, packed), torch.stack([alone(bag) for bag in bags])
    torch.testing.assert_close(found, wanted)
    grads = [torch.autograd.grad(x.sin().sum(), bags) for x in (found, wanted)]
    torch.testing.assert_close(*grads)


def test_softmax_withstands_scores_of_any_size() -> None:
    bags = pack([torch.zeros(2, 1), torch.zeros(3, 1)])
    scores = torch.tensor([1e4, 1e4, -1e4, -1e4, -2e4])
    assert softmax_within(scores, bags).tolist() == [0.5, 0.5, 0.5, 0.5, 0]


def test_softmax_of_half_precision_is_float32() -> None:
    bags = pack([torch.zeros(3000, 1)])
    weights = softmax_within(torch.zeros(3000, dtype=torch.bfloat16), bags)
    assert weights.dtype == torch.float32
    assert weights.sum().item() == pytest.approx(1, rel=1e-5)


def test_a_single_bag_is_not_copied() -> None:
    bag = np.ones((5, 2), np.float32)
    assert pack([bag]).features.data_ptr() == bag.ctypes.data


def test_bags_keep_their_precision_and_device() -> None:
    packed = pack([np.ones((2, 4), np.float16), torch.ones(1, 4, dtype=torch.float16)])
    assert packed.features.dtype == torch.float16
    moved = packed.to("meta")
    assert moved.features.device == moved.offsets.device == torch.device("meta")


@pytest.mark.parametrize(
    "shapes",
    [[], [(0, 4)], [(3, 4), (0, 4)], [(3, 4), (3, 5)], [(4,), (4,)], [(1, 3, 4)]],
    ids=str,
)
def test_bags_that_do_not_fit_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="bags to pack"):
        pack([torch.zeros(shape) for shape in shapes])
