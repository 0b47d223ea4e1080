"""Many tiles of a slide inspected one after another, and the table of what came of it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, fields

import numpy as np

from napari_hmkd.errors import ModelError, SlideReadError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.pair import IhcTile, StainPair
from napari_hmkd.inspection.tile import LEVELS, Tile, TileInspection, inspect_tile
from napari_hmkd.model.stages import GRADES
from napari_hmkd.tiling import TileGrid

_AHEAD = 2  # tiles read while one is computed
_LOGITS = {"student_logits": "student_logit", "teacher_logits": "teacher_logit"}


@dataclass(frozen=True, slots=True, eq=False)
class InspectedTile:
    """A tile and what was seen in it.

    Attributes
    ----------
    tile : (row, column)
    inspection : TileInspection
    moved_um : (y, x) or None
        As `IhcTile.moved_um`; None without IHC.
    """

    tile: Tile
    inspection: TileInspection
    moved_um: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class TileRow:
    """What a table says of a tile; numbers that need the teacher are None without it.

    Attributes
    ----------
    row, column : int
    y_px, x_px : float
        Its top-left corner in level-0 px of the H&E slide.
    student_grade, teacher_grade : int
        The most probable, 0 to 3.
    student_expected, teacher_expected : float
        Sum of k p_k, in [0, 3].
    disagreement : float
        How far the expected grades are apart, in [0, 3].
    agreement_0, agreement_1, agreement_2 : float
        Cosine of both attentions by level, in [0, 1].
    attention_loss, logits_kl, cosine : float
        HM-KD's terms, unweighted.
    moved_y_um, moved_x_um : float
        As `InspectedTile.moved_um`.
    student_logits, teacher_logits : tuple of float
        What the networks say of the grades 0 to 3, before any temperature.
    """

    row: int
    column: int
    y_px: float
    x_px: float
    student_grade: int
    teacher_grade: int | None
    student_expected: float
    teacher_expected: float | None
    disagreement: float | None
    agreement_0: float | None
    agreement_1: float | None
    agreement_2: float | None
    attention_loss: float | None
    logits_kl: float | None
    cosine: float | None
    moved_y_um: float | None
    moved_x_um: float | None
    student_logits: tuple[float, ...]
    teacher_logits: tuple[float, ...] | None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Its columns; logits have one for each grade, `student_logit_0` and so on."""
        plain = (one.name for one in fields(cls) if one.name not in _LOGITS)
        logits = (f"{name}_{grade}" for name in _LOGITS.values() for grade in range(GRADES))
        return (*plain, *logits)

    def cells(self) -> tuple[float | None, ...]:
        """Its numbers in the order of `names`."""
        plain = (getattr(self, one.name) for one in fields(self) if one.name not in _LOGITS)
        return (*plain, *self.student_logits, *(self.teacher_logits or (None,) * GRADES))


def inspect_slide(
    pair: StainPair, student: OpenModel, teacher: OpenModel | None, tiles: Iterable[Tile]
) -> Generator[InspectedTile | FailedTile, None, None]:
    """Inspect tiles in their order; nothing of one is kept when the next is computed.

    Parameters
    ----------
    pair : StainPair
        Where to read.
    student : OpenModel
    teacher : OpenModel or None
        Takes part where `pair` has IHC.
    tiles : iterable of (row, column)

    Yields
    ------
    InspectedTile or FailedTile
        The latter where a stain is damaged, the IHC ends before, or attention is not finite.

    Raises
    ------
    SlideStalledError
        If a file does not answer in time.
    DeviceError
        If torch fails.
    """
    wanted = [(int(row), int(column)) for row, column in tiles]
    with closing(pair.in_order(wanted, _AHEAD)) as reads:
        for tile, (he, ihc) in zip(wanted, reads, strict=True):
            if isinstance(he, SlideReadError):
                yield FailedTile(*tile, str(he))
            elif isinstance(ihc, SlideReadError):
                yield FailedTile(*tile, str(ihc))
            else:
                yield _inspected(tile, student, he, teacher, ihc)


def row_of(inspected: InspectedTile, grid: TileGrid) -> TileRow:
    """What a table says of an inspected tile."""
    one = inspected.inspection
    y_px, x_px = grid.origins(inspected.tile)[0].tolist()
    grades = [int(p.argmax()) for p in one.probabilities]
    expected = [float(p @ np.arange(len(p))) for p in one.probabilities]
    with_teacher = one.has_teacher
    agreement = [one.agreement(level) if with_teacher else None for level in LEVELS]
    logits = [tuple(said.tolist()) for said in one.logits]
    moved_y_um, moved_x_um = inspected.moved_um or (None, None)
    return TileRow(
        row=inspected.tile[0],
        column=inspected.tile[1],
        y_px=y_px,
        x_px=x_px,
        student_grade=grades[0],
        teacher_grade=grades[1] if with_teacher else None,
        student_expected=expected[0],
        teacher_expected=expected[1] if with_teacher else None,
        disagreement=abs(expected[0] - expected[1]) if with_teacher else None,
        agreement_0=agreement[0],
        agreement_1=agreement[1],
        agreement_2=agreement[2],
        attention_loss=one.losses.get("attention"),
        logits_kl=one.losses.get("logits_kl"),
        cosine=one.losses.get("cosine"),
        moved_y_um=moved_y_um,
        moved_x_um=moved_x_um,
        student_logits=logits[0],
        teacher_logits=logits[1] if with_teacher else None,
    )


def _inspected(
    tile: Tile, student: OpenModel, he: np.ndarray, teacher: OpenModel | None, ihc: IhcTile | None
) -> InspectedTile | FailedTile:
    pixels, moved_um = (None, None) if ihc is None else (ihc.pixels, ihc.moved_um)
    try:
        inspection = inspect_tile(student, he, teacher, pixels)
    except ModelError as error:
        return FailedTile(*tile, str(error))
    return InspectedTile(tile, inspection, moved_um)
