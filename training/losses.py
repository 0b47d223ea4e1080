"""The losses of MKD between its three networks (METHOD.md section 2).

Zhang, Hao, Chen et al., MICCAI 2025, arXiv 2508.17213. Throughout, p, m and g are embeddings
(b, d) of one batch by the pathology, the multimodal and the genomic network. Every loss is a
scalar in the precision of its input, at least float32, under autocast too.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from napari_hmkd.model.closeness import logits_kl
from napari_hmkd.model.precision import float32_island, widened

Pair = tuple[torch.Tensor, torch.Tensor]


def coral_loss(p: torch.Tensor, m: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Mean squared differences of the means and of the covariances, summed over the three pairs.

    It draws the distributions of the three embeddings together. A single case has no covariance:
    then the means alone count.
    """
    # Each network stands in two of the pairs.
    means, covariances = zip(*map(_moments, (p, m, g)), strict=True)
    return torch.stack(
        [functional.mse_loss(x, y) for of in (means, covariances) for x, y in _pairs(*of)]
    ).sum()


def orthogonality_loss(p: torch.Tensor, m: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """One sixth of the sum over pairs of | mean_i <x_i, y_i> |, with raw inner products.

    It keeps the three embeddings of a case from saying the same.
    """
    inner = [(widened(x) * widened(y)).sum(dim=1).mean().abs() for x, y in _pairs(p, m, g)]
    return torch.stack(inner).sum() / 6


def similarity_loss(p: torch.Tensor, m: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """b [SP(p, m) + SP(p, g)]: which cases of the batch are alike.

    SP(x, y) is the mean over the b x b pairs of cases of the squared difference of their inner
    products, whose rows are of norm 1: Tung, Mori, ICCV 2019, arXiv 1907.09682. Gradients reach
    student and teachers.
    """
    own, general, genomic = map(_similarities, (p, m, g))
    return len(p) * (functional.mse_loss(own, general) + functional.mse_loss(own, genomic))


def collaborative_loss(
    z_p: torch.Tensor, z_m: torch.Tensor, z_g: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Student and each teacher learn from each other's softened answers.

    For each teacher t: T^2 [KL(sg p_t || p_P) + KL(sg p_P || p_t)], the mean over the batch, where
    no gradient passes sg.

    Parameters
    ----------
    z_p, z_m, z_g : torch.Tensor
        Logits (b, classes) of the pathology, the multimodal and the genomic network.
    temperature : float
        T.
    """
    both_ways = ((z_p, z_m), (z_m, z_p), (z_p, z_g), (z_g, z_p))
    return torch.stack(
        [logits_kl(learner, source.detach(), temperature) for learner, source in both_ways]
    ).sum()


def _pairs(p: torch.Tensor, m: torch.Tensor, g: torch.Tensor) -> tuple[Pair, Pair, Pair]:
    return (m, p), (g, p), (g, m)


def _moments(x: torch.Tensor) -> Pair:
    """Mean (d,) and covariance (d, d) of embeddings (b, d); 0 for a single one."""
    x = widened(x)
    mean = x.mean(dim=0)
    with float32_island(x):
        return mean, (x - mean).T @ (x - mean) / max(len(x) - 1, 1)


def _similarities(x: torch.Tensor) -> torch.Tensor:
    """(b, d) -> (b, b), inner products, each row of norm 1."""
    x = widened(x)
    with float32_island(x):
        return functional.normalize(x @ x.T)
