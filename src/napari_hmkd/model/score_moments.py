"""Mean and covariance of all scores around a pair of tokens, without the scores."""

from __future__ import annotations

import torch

from napari_hmkd.model.planes import MAPS


def score_moments(q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Moments of what a 3 x 3 convolution sees of the planes q^T k, zeros around them included.

    The mean of a convolution w is then w . mean, and its variance w . covariance w. In float64,
    because a variance is the small difference of two sums where scores are alike.

    Parameters
    ----------
    q, k : torch.Tensor
        (B, 4, C, N), map-major.

    Returns
    -------
    tuple
        float64 mean (36,) and covariance (36, 36), both over tiles and pairs of tokens, in the order
        of a kernel's weights: map, row, column.
    """
    pairs = len(k) * k.shape[3] ** 2
    q_sums, q_products = _moved_sums(q.double())
    k_sums, k_products = _moved_sums(k.double())
    mean = torch.einsum("rbmc,sbmc->mrs", q_sums, k_sums).flatten() / pairs
    # A product of two scores is a product of four tokens: two queries', and two keys'.
    products = q_products @ k_products.mT  # (16 map pairs, 9 row pairs, 9 column pairs)
    products = products.unflatten(2, (3, 3)).unflatten(1, (3, 3)).unflatten(0, (MAPS, MAPS))
    square = products.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(0, 2) / pairs
    return mean, square - torch.outer(mean, mean)


def _moved_sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over all tokens of the tokens before, at and after them, and of their products.

    Parameters
    ----------
    x : torch.Tensor
        (B, 4, C, N).

    Returns
    -------
    tuple
        (3 places, B, 4, C), and (16 map pairs, 9 place pairs, B C C).
    """
    first, last = x[..., 0], x[..., -1]
    total = x.sum(dim=3)
    sums = torch.stack([total - last, total, total - first])
    x = x.flatten(1, 2)
    same, *apart = (x[..., : x.shape[2] - gap] @ x[..., gap:].transpose(1, 2) for gap in range(3))
    ends = [end[:, :, None] * end[:, None] for end in (last.flatten(1), first.flatten(1))]
    near, far = apart
    table = [
        same - ends[0], near, far,
        near.mT, same, near,
        far.mT, near.mT, same - ends[1],
    ]  # fmt: skip
    products = torch.stack(table).unflatten(2, (MAPS, -1)).unflatten(4, (MAPS, -1))
    return sums, products.permute(2, 4, 0, 1, 3, 5).flatten(3).flatten(0, 1)
