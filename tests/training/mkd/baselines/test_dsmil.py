"""DSMIL's two streams."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from napari_hmkd.bags.packing import pack
from napari_hmkd.training.mkd.baselines import Baseline
from napari_hmkd.training.mkd.baselines.dsmil import Dsmil


def by_bag(dsmil: Dsmil, bag: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both streams of one bag, class after class as the paper tells it."""
    scores, queries, vectors = dsmil.score(bag), dsmil.query(bag), []
    for k in range(dsmil.sizes.classes):
        critical = scores[:, k].argmax()
        weights = (queries @ queries[critical] / 128**0.5).softmax(dim=0)
        vectors.append(weights @ bag)
    return scores.amax(dim=0), dsmil.classify(torch.cat(vectors))


def test_streams_of_packed_bags_are_those_of_bag_after_bag(
    build: Callable[[str], Baseline], bags: list[torch.Tensor], labels: torch.Tensor
) -> None:
    dsmil = build("dsmil")
    assert isinstance(dsmil, Dsmil)
    highest, attended = map(torch.stack, zip(*(by_bag(dsmil, bag) for bag in bags), strict=True))
    torch.testing.assert_close(dsmil(pack(bags), None), (highest + attended) / 2)
    entropies = [functional.cross_entropy(z, labels) for z in (highest, attended)]
    torch.testing.assert_close(dsmil.loss(pack(bags), None, labels), sum(entropies) / 2)
