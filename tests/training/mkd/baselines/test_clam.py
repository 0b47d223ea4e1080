"""CLAM-SB's loss on patches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from napari_hmkd.bags.packing import pack
from napari_hmkd.training.mkd.baselines import Baseline
from napari_hmkd.training.mkd.baselines.clam import ClamSb, extremes, smooth_svm


def test_both_ends_of_each_bag_are_found() -> None:
    bags = pack([torch.zeros(n, 1) for n in (5, 1, 4)])
    attention = torch.tensor([0.3, 0.1, 0.0, 0.4, 0.2, 1.0, 0.1, 0.4, 0.2, 0.3])
    top, bottom, counts = extremes(attention, bags, count=2)
    assert set(top.tolist()) == {3, 0, 7, 9}
    assert set(bottom.tolist()) == {2, 1, 6, 8}
    assert counts.tolist() == [2, 0, 2]


def test_a_small_bag_has_no_patch_at_both_ends() -> None:
    bags = pack([torch.zeros(5, 1)])
    top, bottom, counts = extremes(torch.arange(5.0), bags, count=8)
    assert (top.tolist(), bottom.tolist(), counts.tolist()) == ([3, 4], [0, 1], [2])


def test_smooth_svm_is_its_definition() -> None:
    scores, labels = torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    right, wrong = (scores.gather(1, k[:, None]).squeeze(1) for k in (labels, 1 - labels))
    # The margin of 1 is the wrong class's; the right class adds exp(0) below the logarithm.
    torch.testing.assert_close(smooth_svm(scores, labels), (1 + (1 + wrong - right).exp()).log())


def by_bag(clam: ClamSb, bag: torch.Tensor, label: int) -> torch.Tensor:
    """The loss on one bag's patches, class after class as the paper tells it."""
    patches = clam.branch.embed(pack([bag]))
    order = clam.branch.attention(patches).argsort()
    count = min(8, len(bag) // 2)
    top, bottom = patches[order[len(bag) - count :]], patches[order[:count]]
    terms = []
    for k in range(clam.sizes.classes):
        chosen = torch.cat([top, bottom]) if k == label else top
        evidence = torch.zeros(len(chosen), dtype=torch.long)
        if k == label:
            evidence[:count] = 1
        scores = clam.tell_apart(chosen)[:, 2 * k : 2 * k + 2]
        terms.append(smooth_svm(scores, evidence).mean())
    return torch.stack(terms).mean()


def test_the_loss_of_packed_bags_is_that_of_bag_after_bag(
    build: Callable[[str], Baseline],
    bags: list[torch.Tensor],
    genes: torch.Tensor,
    labels: torch.Tensor,
) -> None:
    clam = build("clam-sb")
    assert isinstance(clam, ClamSb)
    slides = functional.cross_entropy(clam(pack(bags), None), labels)
    # The second bag has one patch, which cannot be told from another.
    patches = (by_bag(clam, bags[0], 0) + by_bag(clam, bags[2], 1)) / 3
    wanted = 0.7 * slides + 0.3 * patches
    assert clam.loss(pack(bags), genes, labels).item() == pytest.approx(wanted.item())
