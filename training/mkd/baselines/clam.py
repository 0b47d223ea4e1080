"""CLAM-SB: attention that also has to tell patches apart."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from napari_hmkd.bags.packing import PackedBags
from napari_hmkd.model.mkd.pathology import PatchBranch
from napari_hmkd.training.mkd.baselines.base import DROPOUT, WIDTH, Baseline, Sizes

ATTENTION_HIDDEN = 256
INSTANCES = 8
BAG_WEIGHT = 0.7


class ClamSb(Baseline):
    """Gated attention with a single branch, and a loss on the patches at both ends of it.

    Lu, Williamson, Chen et al., Nature Biomedical Engineering 2021, doi 10.1038/s41551-020-00682-w:
    the small network, 8 patches at each end, weights 0.7 for the slide and 0.3 for the patches, and
    classes that exclude each other. Dropout acts on the embedded patches alone.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.branch = PatchBranch(sizes.feature_dim, DROPOUT, WIDTH, ATTENTION_HIDDEN)
        self.classify = nn.Linear(WIDTH, sizes.classes)
        self.tell_apart = nn.Linear(WIDTH, 2 * sizes.classes)

    def forward(self, bags: PackedBags, genes: torch.Tensor | None) -> torch.Tensor:
        """Logits (b, classes); genes are not looked at."""
        embedding, _ = self.branch(bags)
        return self.classify(embedding)

    def loss(
        self, bags: PackedBags, genes: torch.Tensor | None, labels: torch.Tensor
    ) -> torch.Tensor:
        """0.7 times the cross entropy of the slides plus 0.3 times that of chosen patches."""
        patches = self.branch.embed(bags)
        embedding, attention = self.branch.pool(patches, bags)
        of_bags = functional.cross_entropy(self.classify(embedding), labels)
        of_patches = self._instance_loss(patches, attention, bags, labels)
        return BAG_WEIGHT * of_bags + (1 - BAG_WEIGHT) * of_patches

    def _instance_loss(
        self,
        patches: torch.Tensor,
        attention: torch.Tensor,
        bags: PackedBags,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """From embedded patches (sum n, width) with their attention (sum n,), and labels (b,).

        Of the slide's class the top patches are evidence and the bottom ones none; of the other
        classes the top ones are none either. The mean over patches, then over classes and bags.
        """
        top, bottom, counts = extremes(attention.detach(), bags, INSTANCES)
        chosen = torch.cat([top, bottom])  # (m,)
        case, is_top = bags.case[chosen], torch.arange(len(chosen), device=top.device) < len(top)
        own = functional.one_hot(labels, self.sizes.classes)[case].bool()  # (m, classes)
        evidence = own & is_top[:, None]
        # (m, 2 classes) -> (m, classes, 2): of each class whether a patch is evidence for it
        scores = self.tell_apart(patches[chosen]).unflatten(1, (self.sizes.classes, 2))
        losses = smooth_svm(scores.flatten(0, 1), evidence.flatten().long()).view_as(own)
        weights = torch.where(own, 0.5, is_top[:, None].to(losses.dtype)) / counts[case, None]
        return (losses * weights).sum() / (self.sizes.classes * len(bags))


def extremes(
    attention: torch.Tensor, bags: PackedBags, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The patches of most and of least attention in each bag.

    Returns
    -------
    top, bottom : torch.Tensor
        int64, indices of patches; up to `count` of each bag, and never one in both.
    counts : torch.Tensor
        int64 (b,), how many there are at each end; 0 in a bag of one patch.
    """
    order = attention.argsort()
    order = order[bags.case[order].argsort(stable=True)]  # within each bag by attention
    case = bags.case
    rank = torch.arange(len(order), device=order.device) - bags.offsets[case]
    counts = (bags.sizes // 2).clamp(max=count)
    is_top = rank >= (bags.sizes - counts)[case]
    return order[is_top], order[rank < counts[case]], counts


def smooth_svm(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Smooth top-1 SVM loss with margin and temperature 1, (m, classes) and (m,) -> (m,).

    Berrada, Zisserman, Kumar, ICLR 2018, arXiv 1802.07595, equation 7: cross entropy of scores to
    which the margin is added wherever the label is not.
    """
    margin = 1 - functional.one_hot(labels, scores.shape[1])
    return functional.cross_entropy(scores + margin, labels, reduction="none")
