"""|| u(A_s) - u(A_t) ||^2 of matrices of which only some rows are there at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from napari_hmkd.model.attention import check_pair
from napari_hmkd.model.attention_rows import AttentionBlock, AttentionRows, Level
from napari_hmkd.model.precision import float32_island
from napari_hmkd.model.sharing import share_out

Reader = Callable[[int, int, int], torch.Tensor]


class Comparison:
    """What student and teacher have in common, and what its gradient needs of them.

    With a = A_s / (sum of A_s^4)^(1/4), and b of the teacher alike, u is a^2 and b^2, the distance
    2 - 2 c where c = sum of a^2 b^2, and its gradient to A_s 4 a (c a^2 - b^2) / (sum of A_s^4)^(1/4).

    Parameters
    ----------
    student, teacher
        As `row_distance` takes them.

    Attributes
    ----------
    distance : torch.Tensor
        (B,), not negative, of the student's dtype.
    """

    def __init__(self, student: AttentionRows, teacher: Level) -> None:
        sums = _sums(student, teacher)
        fourth, common = sums[:, :2], sums[:, 2]
        seen = fourth > 0
        scale = torch.where(seen, fourth, 1).pow(0.25)
        c = common / scale.square().prod(dim=1)
        self._teacher, self._scale, self._c = teacher, scale.tolist(), c.tolist()
        # u is of norm one, or 0 where A is all 0.
        self.distance = (seen.sum(dim=1) - 2 * c).clamp(min=0).to(student.k.dtype)

    def reader(self) -> Reader:
        """The teacher's rows, for one thread."""
        return _reader(self._teacher)

    def add_gradient(
        self, tile: int, own: torch.Tensor, taught: torch.Tensor, gain: float, grad: torch.Tensor
    ) -> None:
        """Add to the gradient of some rows of A_s what the distance has to say.

        Parameters
        ----------
        tile : int
            Of the batch.
        own, taught, grad : torch.Tensor
            (rows, N) of A_s and A_t, and the gradient.
        gain : float
            The gradient of the tile's distance.
        """
        scale, scale_taught = self._scale[tile]
        a = own / scale
        slope = (self._c[tile] * a.square()).sub_((taught / scale_taught).square_()).mul_(a)
        grad.add_(slope, alpha=4 * gain / scale)


def row_distance(student: AttentionRows, teacher: Level) -> torch.Tensor:
    """The attention loss of each tile, without an N x N tensor beside those that there are.

    Parameters
    ----------
    student : AttentionRows
        Its gradient is computed by blocks as well.
    teacher : AttentionRows or torch.Tensor
        (B, N, N), to which no gradient goes.

    Returns
    -------
    torch.Tensor
        (B,), not negative, of the student's dtype.

    Raises
    ------
    ValueError
        If the shapes differ, or the student was compared before.
    """
    check_pair(student.shape, teacher.shape)
    found = Comparison(student, teacher)
    if student.mark is None:
        return found.distance
    if student.compared:
        raise ValueError("rows that learn are compared once: their one gradient is that distance's")
    student.compared.append(found)
    return student.mark + found.distance


def _sums(student: AttentionRows, teacher: Level) -> torch.Tensor:
    """Of A_s^4, A_t^4 and A_s^2 A_t^2 of each tile, float64 (B, 3).

    float64 has the range for the fourth powers of float32, and keeps 16 digits of a distance that is
    the small difference of sums, where 7 digits of A make it unsure by more.
    """
    sums = torch.zeros(len(student.k), 3, dtype=torch.float64)

    def compute(tiles: Iterable[int]) -> None:
        block, taught = AttentionBlock(student), _reader(teacher)
        for tile in tiles:
            for part in block.blocks():
                own = block.read(tile, *part).double().square().flatten()
                other = taught(tile, *part).double().square().flatten()
                pairs = ((own, own), (other, other), (own, other))
                sums[tile] += torch.stack([torch.dot(*pair) for pair in pairs])

    with float32_island(student.k):
        share_out(compute, range(len(student.k)))
    return sums


def _reader(attention: Level) -> Reader:
    if isinstance(attention, AttentionRows):
        return AttentionBlock(attention).read
    return lambda tile, first, stop: attention[tile, first:stop]
