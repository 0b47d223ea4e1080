"""One tile seen from inside: where student and teacher look, and what the difference costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
import torch

from napari_hmkd.device import device_errors, device_of, done_on
from napari_hmkd.errors import ModelError
from napari_hmkd.grading import OpenModel
from napari_hmkd.model import TeacherAttention, unit_squares
from napari_hmkd.model.closeness import cosine_loss, logits_kl
from napari_hmkd.model.sharing import answer_in_parts
from napari_hmkd.model.stages import PATCH_PX

LEVELS = (0, 1, 2)
Tile = tuple[int, int]
"""Row and column of a tile on its slide's grid."""

Token = tuple[int, int]
"""Row and column of a token on its level's grid."""


def token_side_px(level: int) -> int:
    """Side of a token, in px of the model."""
    return math.prod(PATCH_PX[: level + 1])


class Gaze(StrEnum):
    """Whose attention, and to which stain."""

    STUDENT = "student"
    TEACHER_HE = "teacher, H&E"
    TEACHER_IHC = "teacher, IHC"


@dataclass(frozen=True, slots=True, eq=False)
class TileInspection:
    """The networks' attention in a tile, and their answers to it (METHOD.md section 3).

    Tokens of a level stand on a g x g grid over the tile, N = g^2.

    Attributes
    ----------
    attention : mapping
        From each gaze at hand to u(A) of levels 0, 1, 2: float32 (N, N), not negative, of norm one, rows
        the query tokens. Those of the teacher's H&E have IHC queries, those of its IHC have H&E queries.
    logits, probabilities : tuple of numpy.ndarray
        Of the student and, where it took part, the teacher: float32 (4,), before and after each card's
        temperature.
    losses : mapping
        HM-KD's terms of this tile, unweighted: "attention 0" to "attention 2", their sum "attention",
        "logits_kl", and "cosine" where both have pooled features of one width. Empty without a teacher.
    """

    attention: Mapping[Gaze, tuple[np.ndarray, ...]]
    logits: tuple[np.ndarray, ...]
    probabilities: tuple[np.ndarray, ...]
    losses: Mapping[str, float]

    @property
    def has_teacher(self) -> bool:
        """Whether the teacher took part, for which the IHC tile is needed."""
        return Gaze.TEACHER_HE in self.attention

    @property
    def nbytes(self) -> int:
        """Size of all matrices."""
        return sum(matrix.nbytes for levels in self.attention.values() for matrix in levels)

    def received(self, gaze: Gaze, level: int) -> np.ndarray:
        """How much each key token is looked at, sqrt(sum_i u_ij): float32 (g, g).

        1 is what each has where all look at all alike; none can have more than sqrt(g).
        """
        return _on_grid(np.sqrt(self.attention[gaze][level].sum(axis=0)))

    def looked_at_from(self, gaze: Gaze, level: int, query: Token) -> np.ndarray:
        """Where one query token attends, its row of u(A): float32 (g, g)."""
        matrix = self.attention[gaze][level]
        return _on_grid(matrix[query[0] * math.isqrt(len(matrix)) + query[1]])

    def difference(self, level: int) -> np.ndarray:
        """What the student's received attention has more than the teacher's on H&E: float32 (g, g)."""
        return self.received(Gaze.STUDENT, level) - self.received(Gaze.TEACHER_HE, level)

    def discrepancy(self, level: int) -> np.ndarray:
        """What each query token adds to the attention loss, which is their sum: float32 (g, g)."""
        student, teacher = self._pair(level)
        return _on_grid(np.square(student - teacher).sum(axis=1))

    def agreement(self, level: int) -> float:
        """Cosine of the two u(A), from 0 to 1; the attention loss is 2 - 2 x agreement."""
        student, teacher = self._pair(level)
        return min(float(np.vdot(student, teacher)), 1.0)

    def _pair(self, level: int) -> tuple[np.ndarray, np.ndarray]:
        return self.attention[Gaze.STUDENT][level], self.attention[Gaze.TEACHER_HE][level]


def inspect_tile(
    student: OpenModel,
    he: np.ndarray,
    teacher: OpenModel | None = None,
    ihc: np.ndarray | None = None,
) -> TileInspection:
    """Look into the student, and into the teacher where the IHC tile is at hand.

    Parameters
    ----------
    student : OpenModel
        Sees the H&E tile alone.
    he : numpy.ndarray
        uint8 (tile_px, tile_px, 3), as `read_tile` gives it.
    teacher : OpenModel, optional
        Sees both tiles.
    ihc : numpy.ndarray, optional
        The same square of tissue on the registered IHC slide: uint8 (tile_px, tile_px, 3).

    Raises
    ------
    ModelError
        If teacher and student were made for tiles of different size or pixel size, a network has no
        attention, or it is not finite.
    DeviceError
        If torch fails, for want of memory or otherwise.
    """
    s = done_on(device_of(student.network), _run, student, he)
    if teacher is None or ihc is None:
        return _inspection({Gaze.STUDENT: s.he}, (s,), {})
    require_pair(student, teacher)
    t = done_on(device_of(teacher.network), _run, teacher, he, ihc)
    attention = {Gaze.STUDENT: s.he, Gaze.TEACHER_HE: t.he, Gaze.TEACHER_IHC: t.ihc}
    return _inspection(attention, (s, t), _losses(s, t))


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What a network said of a tile; `ihc` is empty of a student's."""

    he: tuple[np.ndarray, ...]
    ihc: tuple[np.ndarray, ...]
    logits: torch.Tensor
    pooled: torch.Tensor
    probabilities: np.ndarray


def _inspection(
    attention: Mapping[Gaze, tuple[np.ndarray, ...]],
    answers: tuple[_Answer, ...],
    losses: Mapping[str, float],
) -> TileInspection:
    logits = tuple(one.logits[0].numpy() for one in answers)
    return TileInspection(attention, logits, tuple(one.probabilities for one in answers), losses)


def _run(model: OpenModel, *stains: np.ndarray) -> _Answer:
    device = device_of(model.network)
    with device_errors(device), torch.inference_mode():
        tiles = [model.card.normalise(torch.from_numpy(np.stack([t])).to(device)) for t in stains]
        (output,) = answer_in_parts(partial(model.network, attention=True), *tiles)
        if output.attention is None:
            raise ModelError(
                f"asked where {model.card.name} looks, but a network of its kind has no such attention; "
                "choose a student of HM-KD"
            )
        pair = isinstance(output.attention, TeacherAttention)
        he, ihc = (output.attention.he, output.attention.ihc) if pair else (output.attention, ())
        if not all(bool(a.isfinite().all()) for a in (*he, *ihc, output.logits)):
            raise ModelError(
                f"asked where {model.card.name} looks, but its attention is not finite here: the tissue is "
                "unlike what it was trained on; choose another tile or model"
            )
        logits, pooled = output.logits.float().cpu(), output.pooled.float().cpu()
        he, ihc = (tuple(unit_squares(a)[0].cpu().numpy() for a in one) for one in (he, ihc))
    probabilities = torch.softmax(logits[0] / model.card.temperature, dim=0).numpy()
    return _Answer(he, ihc, logits, pooled, probabilities)


def _losses(student: _Answer, teacher: _Answer) -> dict[str, float]:
    squares = zip(student.he, teacher.he, strict=True)
    by_level = [float(np.square(s - t).sum()) for s, t in squares]
    losses = {f"attention {level}": loss for level, loss in enumerate(by_level)}
    losses |= {
        "attention": sum(by_level),
        "logits_kl": float(logits_kl(student.logits, teacher.logits)),
    }
    if student.pooled.shape == teacher.pooled.shape:
        losses["cosine"] = float(cosine_loss(student.pooled, teacher.pooled))
    return losses


def require_pair(student: OpenModel, teacher: OpenModel) -> None:
    """Check that both networks were made for the same tiles.

    Raises
    ------
    ModelError
        If not.
    """
    fields = [(model.card.tile_px, model.card.mpp) for model in (student, teacher)]
    if fields[0] != fields[1]:
        raise ModelError(
            f"asked to compare {student.card.name} with {teacher.card.name}, but their tiles differ "
            f"(px, um/px): {fields[0]} and {fields[1]}; choose the teacher this student learned from"
        )


def _on_grid(tokens: np.ndarray) -> np.ndarray:
    """(N,) -> (g, g)."""
    side = math.isqrt(len(tokens))
    return tokens.reshape(side, side)
