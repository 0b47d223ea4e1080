"""DSMIL: a bag is judged by its most telling patch, and by what resembles it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.bags.packing import PackedBags, softmax_within, sum_within
from napari_hmkd.training.mkd.baselines.base import Baseline, Sizes

QUERY = 128


class Dsmil(Baseline):
    """Mean of two streams: the highest patch of each class, and attention by likeness to it.

    Li, Li, Eliceiri, CVPR 2021, arXiv 2011.08939, on features of a frozen encoder, with the
    published program's non-linear queries. The classes exclude each other here, so that each
    stream's loss is a cross entropy. No loop over bags is needed.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.score = nn.Linear(sizes.feature_dim, sizes.classes)
        self.query = nn.Sequential(
            nn.Linear(sizes.feature_dim, QUERY), nn.ReLU(), nn.Linear(QUERY, QUERY), nn.Tanh()
        )
        # One filter for each class over the vectors of all classes.
        self.classify = nn.Linear(sizes.classes * sizes.feature_dim, sizes.classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes), the mean of both streams; genes are not looked at."""
        return torch.stack(self.streams(bags)).mean(dim=0)

    def loss(
        self, bags: PackedBags, genes: torch.Tensor | None, labels: torch.Tensor
    ) -> torch.Tensor:
        """The mean of the two streams' cross entropies."""
        streams = self.streams(bags)
        return torch.stack([functional.cross_entropy(z, labels) for z in streams]).mean()

    def streams(self, bags: PackedBags) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (b, classes) of the highest patches, and of the bags' vectors."""
        features = bags.features_of(self.sizes.feature_dim)
        scores, queries = self.score(features), self.query(features)
        vectors, highest = [], []
        for own in scores.unbind(dim=1):  # (sum n,), of one class
            critical = own.detach().where(bags.membership, -torch.inf).argmax(dim=1)  # (b,)
            highest.append(own[critical])
            likeness = queries @ queries[critical].T / QUERY**0.5  # (sum n, b)
            own_likeness = likeness.gather(1, bags.case[:, None]).squeeze(1)  # (sum n,)
            vectors.append(sum_within(features, bags, softmax_within(own_likeness, bags)))
        return torch.stack(highest, dim=1), self.classify(torch.cat(vectors, dim=1))
