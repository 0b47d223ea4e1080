"""What the attention inspector computes in the background of a window."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Hashable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

from psygnal import Signal

from napari_hmkd.attention_report import doubts_of_ihc
from napari_hmkd.errors import UnsuitableSlideError
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.cache import InspectionCache
from napari_hmkd.inspection.faithfulness import Faithfulness, check_faithfulness
from napari_hmkd.inspection.importance import PartialImportance
from napari_hmkd.inspection.slide import InspectedTile, inspect_slide
from napari_hmkd.inspection.tile import Tile, inspect_tile
from napari_hmkd.planning import GradeSettings, plan_grading
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.slide import Slide, TissueMask, check_stain
from napari_hmkd.widgets.attention_subject import Subject
from napari_hmkd.widgets.background import BackgroundRun

Step = InspectedTile | FailedTile
Work = Callable[..., Generator[Any, None, None]]


@dataclass(frozen=True, slots=True)
class PlannedTiles:
    """What will come of a whole slide.

    Attributes
    ----------
    count : int
        Tiles.
    tissue : TissueMask or None
        As `GradePlan.tissue`.
    """

    count: int
    tissue: TissueMask | None


@dataclass(frozen=True, slots=True)
class Doubts:
    """What speaks against the slides.

    Attributes
    ----------
    words : tuple of str
    of_stains : bool
        Whether every slide's stain was looked at.
    """

    words: tuple[str, ...]
    of_stains: bool = False


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
        self._key: Hashable = None
        self._next: tuple[str, Hashable, Work] | None = None

    def start(self, what: str, work: Work, subject: Subject, *arguments: object) -> None:
        """Do `work(subject, *arguments)`, as soon as what is under way has ended.

        Messages call it `what`.
        """
        self.stop()
        self._next = what, subject.key, partial(work, subject, *arguments)
        if not self.running:
            self._start_next()

    def stop(self) -> None:
        """End after this step, and drop what waits."""
        self._next = None
        super().stop()

    def _start_next(self) -> None:
        if self._next is not None:
            (what, self._key, work), self._next = self._next, None
            self._stop = Event()
            self._begin(what, _until, self._stop, work)

    def _on_step(self, step: object) -> None:
        self.stepped.emit(self._key, step)

    def _on_finished(self) -> None:
        super()._on_finished()
        self._start_next()


def _until(stop: Event, work: Work) -> Generator[Any, None, None]:
    """It ends by itself, so that readers are put away in the worker's thread."""
    with closing(work()) as steps:
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
            yield kept
    if not missing:
        return
    student, teacher = subject.open_student(), subject.open_teacher()
    with closing(inspect_slide(subject.pair, student, teacher, missing)) as steps:
        for step in steps:
            if isinstance(step, InspectedTile):
                cache.put((subject.key, step.tile), step)
            yield step


def inspect_whole_slide(
    subject: Subject,
    known: Container[Tile],
    tissue: TissueMask | None,
    regions: Sequence[MarkedRegion],
    settings: GradeSettings,
) -> Generator[PlannedTiles | Doubts | UnsuitableSlideError | Step, None, None]:
    """Inspect all tiles with tissue that are not known yet; nothing of them is kept.

    First comes what is planned. Where the slide is unsuitable, the error is the only step and not
    raised: that is a question to the user, no failure.

    Parameters
    ----------
    subject : Subject
    known : container of (row, column)
    tissue : TissueMask or None
        Is obeyed; None for it to be found.
    regions : sequence of MarkedRegion
        As `plan_grading` takes them.
    settings : GradeSettings
        Which of the tiles, and whether by force.
    """
    student, teacher = subject.open_student(), subject.open_teacher()
    try:
        plan = plan_grading(subject.he, student.card, settings, tissue, regions)
    except UnsuitableSlideError as doubt:
        yield doubt
        return
    tiles = [(row, column) for row, column in plan.tiles.tolist() if (row, column) not in known]
    yield PlannedTiles(len(tiles), plan.tissue)
    yield Doubts(plan.warnings)
    with closing(inspect_slide(subject.pair, student, teacher, tiles)) as steps:
        yield from steps


def doubting(
    work: Work, subject: Subject, *arguments: object
) -> Generator[Step | PlannedTiles | UnsuitableSlideError | Doubts, None, None]:
    """Do some work, and then look whether the H&E and the IHC are that, and lie over each other.

    Not where a question is the only step: the run ends, so that it can be answered. The H&E is left out
    where a plan has looked at it.
    """
    planned = False
    with closing(work(subject, *arguments)) as steps:
        for step in steps:
            yield step
            if isinstance(step, UnsuitableSlideError):
                return
            planned |= isinstance(step, PlannedTiles)
    words = [] if planned else _doubts_of_he(subject.he)
    if subject.ihc is not None:
        words += doubts_of_ihc(subject.he, subject.ihc)
    yield Doubts(tuple(words), of_stains=True)


def _doubts_of_he(he: Slide) -> list[str]:
    """Told and not refused: tiles in view are looked into before their slide is."""
    stain = check_stain(he)
    if stain.gradable:
        return []
    return [f"{he.name}, given as the H&E, looks like {stain.reason}: make sure that it is the H&E"]


def check_tile(
    subject: Subject, tile: Tile, level: int, cache: InspectionCache
) -> Generator[PartialImportance | Faithfulness, None, None]:
    """Compare where the student looks in a tile with what its answer hangs on."""
    student = subject.open_student()
    he = subject.he.in_time(partial(subject.pair.read_he, tile))
    kept = cache.find((subject.key, tile))
    inspection = inspect_tile(student, he) if kept is None else kept.inspection
    yield from check_faithfulness(student, he, inspection, level)
