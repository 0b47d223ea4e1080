"""Where teacher and student look on a few validation tiles, after each epoch of a distillation."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from napari_hmkd.errors import OutputError
from napari_hmkd.model import agreement, received_attention
from napari_hmkd.model.attention_rows import as_matrix
from napari_hmkd.model.outputs import Matrices
from napari_hmkd.output_folder import csv_text
from napari_hmkd.training.attention_picture import WatchedTile, draw_tiles
from napari_hmkd.training.data import Batch, TileData
from napari_hmkd.training.files import make_folder, write_unless_held, write_whole
from napari_hmkd.training.tasks import StudentTask

WATCHED_TILES = 4
TABLE_FILE = "attention.csv"
PICTURE_FOLDER = "attention"


@dataclass(frozen=True, eq=False)
class _Lesson:
    """One tile, and the H&E-keyed matrices (1, N, N) of the teacher, which stays as it is."""

    name: str
    batch: Batch
    teacher: Matrices


class AttentionWatch(Callback):
    """Writes `attention/epoch_001.png`, ... and `attention.csv` of a student that learns attention.

    The table has a row per epoch: `epoch` (from 1) and `agreement_0`, `agreement_1`, ..., the mean
    over the tiles of the agreement of student and teacher at each level. Other runs get neither.
    One process looks, in eval mode, one tile at a time: nothing that training goes on with changes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lessons: list[_Lesson] = []
        self._rows: dict[int, tuple[float, ...]] = {}

    def on_validation_epoch_end(self, trainer: Any, task: Any) -> None:
        """Look at the tiles with the weights of this epoch.

        Raises
        ------
        OutputError
            If something cannot be written, or the table so far cannot be read.
        """
        learns = isinstance(task, StudentTask) and task.method.needs_attention
        if not (learns and trainer.is_global_zero):
            return
        with torch.inference_mode(), trainer.precision_plugin.val_step_context():
            if not self._lessons:
                self._lessons = list(_lessons(task, trainer.datamodule))
                self._rows = read_agreement(self._folder)
            seen = [_look(task, lesson) for lesson in self._lessons]
        epoch = trainer.current_epoch + 1
        picture = picture_path(self._folder, epoch)
        make_folder(picture.parent)
        write_whole(picture, draw_tiles(seen, f"epoch {epoch}", task.card.notice))
        # A resumed run repeats the epoch in which it was cut short.
        before = {e: row for e, row in self._rows.items() if e < epoch}
        means = np.mean([tile.agreement for tile in seen], axis=0)
        self._rows = before | {epoch: tuple(means.tolist())}
        _write_agreement(self._folder, self._rows)


def picture_path(run: Path, epoch: int) -> Path:
    """The picture of an epoch, from 1, in a run folder."""
    return run / PICTURE_FOLDER / f"epoch_{epoch:03d}.png"


def read_agreement(run: Path) -> dict[int, tuple[float, ...]]:
    """Mean agreement at each level by epoch, in order; empty where the run has no such table.

    Raises
    ------
    OutputError
        If the table cannot be read.
    """
    path = run / TABLE_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        return {int(epoch): tuple(map(float, levels)) for epoch, *levels in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise OutputError(
            f"{path}, the agreement of the epochs so far, cannot be read: {error}. Delete it, "
            "which loses its curve alone"
        ) from error


def _write_agreement(run: Path, rows: Mapping[int, Sequence[float]]) -> None:
    levels = range(len(next(iter(rows.values()))))
    header = ("epoch", *(f"agreement_{level}" for level in levels))
    lines = ((epoch, *(f"{value:.6f}" for value in row)) for epoch, row in rows.items())
    write_unless_held(run / TABLE_FILE, csv_text(header, lines).encode())


def choose_tiles(grades: NDArray[np.integer]) -> NDArray[np.intp]:
    """Positions of the tiles to watch: the first of each grade, then the second of each, and so on.

    Parameters
    ----------
    grades : (n,)
        0 to 3, -1 where there is none.

    Returns
    -------
    (k,)
        `WATCHED_TILES`, or as many as there are.
    """
    counted: Counter[int] = Counter()
    turn = []
    for grade in grades.tolist():
        turn.append(counted[grade])
        counted[grade] += 1
    return np.lexsort((grades, np.array(turn)))[:WATCHED_TILES]


def _lessons(task: StudentTask, data: TileData) -> Iterator[_Lesson]:
    """What the teacher says about the chosen tiles; they are read without augmentation."""
    held = data.part(data.split.validation)
    for position in choose_tiles(held.grades).tolist():
        batch = held[position].to(task.device)
        attention = task.lesson(batch, attention=True).attention
        assert attention is not None
        yield _Lesson(
            data.tiles[held.indices[position]].name, batch, tuple(map(as_matrix, attention.he))
        )


def _look(task: StudentTask, lesson: _Lesson) -> WatchedTile:
    student = task.network(task.card.normalise(lesson.batch.he), attention=True).attention
    pairs = zip(student, lesson.teacher, strict=True)
    return WatchedTile(
        name=lesson.name,
        grade=int(lesson.batch.grade),
        he=lesson.batch.he[0].cpu().numpy(),
        teacher=_received(lesson.teacher),
        student=_received(student),
        agreement=np.array([agreement(*pair).item() for pair in pairs]),
    )


def _received(matrices: Matrices) -> tuple[NDArray[np.float32], ...]:
    return tuple(received_attention(level)[0].cpu().numpy() for level in matrices)
