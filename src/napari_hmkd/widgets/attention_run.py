"""What the attention inspector computes in the background of a window."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Hashable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

from psygnal import Signal

from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.cache import InspectionCache
from napari_hmkd.inspection.faithfulness import Faithfulness, check_faithfulness
from napari_hmkd.inspection.importance import PartialImportance
from napari_hmkd.inspection.slide import InspectedTile, Tile, inspect_slide
from napari_hmkd.inspection.tile import inspect_tile
from napari_hmkd.planning import GradeSettings, plan_grading, read_tile
from napari_hmkd.widgets.attention_subject import Subject
from napari_hmkd.widgets.background import BackgroundRun

Step = InspectedTile | FailedTile
Work = Callable[..., Generator[Any, None, None]]


@dataclass(frozen=True, slots=True)
class PlannedTiles:
    """How many tiles will come."""

    count: int


@dataclass(frozen=True, slots=True)
class _Job:
    what: str
    work: Work
    subject: Subject
    arguments: tuple[object, ...]


class LatestRun(BackgroundRun):
    """Does what was asked for last; what is under way then ends after the step it is at.

    Signals
    -------
    stepped(key, step)
        What the work has yielded, and the key of the subject it was for.
    """

    stepped = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._stop = Event()
        self._key: Hashable = None
        self._next: _Job | None = None

    def start(self, what: str, work: Work, subject: Subject, *arguments: object) -> None:
        """Do `work(subject, *arguments)`, as soon as what is under way has ended.

        Messages call it `what`.
        """
        self.stop()
        self._next = _Job(what, work, subject, arguments)
        if not self.running:
            self._start_next()

    def stop(self) -> None:
        """End after this step, and drop what waits."""
        self._next = None
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def close(self) -> None:
        """End everything: the viewer is going away."""
        self.stop()
        super().close()

    def _start_next(self) -> None:
        job, self._next = self._next, None
        if job is not None:
            self._key, self._stop = job.subject.key, Event()
            self._begin(job.what, _until, self._stop, job)

    def _on_step(self, step: object) -> None:
        self.stepped.emit(self._key, step)

    def _on_finished(self) -> None:
        super()._on_finished()
        self._start_next()


def _until(stop: Event, job: _Job) -> Generator[Any, None, None]:
    """It ends by itself, so that readers are put away in the worker's thread."""
    with closing(job.work(job.subject, *job.arguments)) as steps:
        for step in steps:
            yield step
            if stop.is_set():
                return


def inspect_tiles(
    subject: Subject, tiles: Iterable[Tile], cache: InspectionCache
) -> Generator[Step, None, None]:
    """Inspect tiles and keep what is found; first come those that the cache still has."""
    missing = []
    for tile in tiles:
        kept = cache.find((subject.key, tile))
        if kept is None:
            missing.append(tile)
        else:
            yield InspectedTile(tile, kept)
    if not missing:
        return
    student, teacher = subject.open_student(), subject.open_teacher()
    with closing(inspect_slide(subject.pair, student, teacher, missing)) as steps:
        for step in steps:
            if isinstance(step, InspectedTile):
                cache.put((subject.key, step.tile), step.inspection)
            yield step


def inspect_whole_slide(
    subject: Subject, known: Container[Tile]
) -> Generator[PlannedTiles | Step, None, None]:
    """Inspect all tiles with tissue that are not known yet; nothing of them is kept.

    First comes how many these are.
    """
    student, teacher = subject.open_student(), subject.open_teacher()
    # Who asks where networks look asks it of any slide: no stain is refused.
    plan = plan_grading(subject.he, student.card, GradeSettings(force=True))
    tiles = [(row, column) for row, column in plan.tiles.tolist() if (row, column) not in known]
    yield PlannedTiles(len(tiles))
    yield from inspect_slide(subject.pair, student, teacher, tiles)


def check_tile(
    subject: Subject, tile: Tile, level: int, cache: InspectionCache
) -> Generator[PartialImportance | Faithfulness, None, None]:
    """Compare where the student looks in a tile with what its answer hangs on."""
    student = subject.open_student()
    he = subject.he.in_time(partial(read_tile, subject.he, subject.grid, tile))
    inspection = cache.find((subject.key, tile)) or inspect_tile(student, he)
    yield from check_faithfulness(student, he, inspection, level)
