"""Many slides: which they are, each graded to its folder wherever there is room for it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_hmkd.errors import DeviceError, HmkdError, SlideError
from napari_hmkd.export import write_results
from napari_hmkd.export.contents import is_whole
from napari_hmkd.export.request import request_entry
from napari_hmkd.export.summary import read_summary
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import OpenModel, SlideGrading, open_model, result_key, start_grading
from napari_hmkd.model import find_model
from napari_hmkd.planning import GradeSettings, contradicted_mpp, tile_grid
from napari_hmkd.regions import MarkedRegion
from napari_hmkd.slide import Slide, open_slide
from napari_hmkd.slide.backends.pixel_size import USER

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 60
# Threads of one worker share its network, its GPU's memory and torch's threads: two slides at once
# would be no faster than one after the other, and need twice the memory.
_ONE_AT_A_TIME = threading.Lock()
Watch = Callable[[SlideGrading], AbstractContextManager[Callable[[int], None]]]


class Status(StrEnum):
    """What became of a slide."""

    GRADED = "graded"
    SKIPPED = "graded before"
    FAILED = "failed"


@dataclass(frozen=True)
class SlideJob:
    """One slide to be graded, as any process on any machine that sees its files can do it.

    Attributes
    ----------
    slide : str
        Path or address.
    folder : Path
        For its results.
    model : str
        Name or file of the student.
    settings : GradeSettings
        How to grade.
    mpp : float or None
        Micrometres per pixel as the user states them.
    backend : str or None
        The back end to insist on.
    regions : tuple of MarkedRegion
        Parts to sum up by themselves.
    kept_in : Path or None
        Where graded tiles are kept (`start_grading`). Without it every slide is graded anew.
    geojson_origin : {"slide", "file"}
        What `tiles.geojson` counts from.
    """

    slide: str
    folder: Path
    model: str
    settings: GradeSettings
    mpp: float | None = None
    backend: str | None = None
    regions: tuple[MarkedRegion, ...] = ()
    kept_in: Path | None = None
    geojson_origin: Origin = "slide"


@dataclass(frozen=True)
class SlideOutcome:
    """A job that is done.

    Attributes
    ----------
    job : SlideJob
    status : Status
        A slide was graded before whose results are there already, complete and from the same job.
    message : str
        Why it failed; else empty.
    summary : dict
        Of a graded or skipped slide, what its `summary.json` holds.
    """

    job: SlideJob
    status: Status
    message: str
    summary: dict[str, Any]


def grade_to_folder(job: SlideJob, watch: Watch | None = None) -> SlideOutcome:
    """Do a job; a slide that cannot be graded is an outcome, too.

    Parameters
    ----------
    job : SlideJob
    watch : callable, optional
        Takes the grading before it runs, and gives a context that yields a function, which is called
        with the number of tiles of each batch.
    """
    try:
        with open_slide(job.slide, backend=job.backend) as opened:
            slide = opened if job.mpp is None else opened.with_mpp(job.mpp)
            model = _model(job.model)
            if (done := _finished(job, slide, model)) is not None:
                return SlideOutcome(job, Status.SKIPPED, "", done)
            grading = start_grading(
                slide, model, job.settings, regions=job.regions, kept_in=job.kept_in
            )
            grading.notes += contradicted_mpp(opened, job.mpp)
            with watch(grading) if watch else nullcontext(_ignore) as advance:
                for batch in grading.run():
                    advance(len(batch.tiles) + len(batch.failed))
            summary = write_results(grading, job.folder, job.geojson_origin)
    except HmkdError as error:
        return SlideOutcome(job, Status.FAILED, str(error), {})
    except Exception as error:  # one slide's bad luck is not the others'
        _LOG.exception("grading %s", job.slide)
        return SlideOutcome(job, Status.FAILED, f"{job.slide}: {error!r}", {})
    return SlideOutcome(job, Status.GRADED, "", summary)


def grade_here(
    jobs: Sequence[SlideJob], watch: Watch | None = None
) -> Generator[SlideOutcome, None, None]:
    """Do jobs one after the other."""
    return (grade_to_folder(job, watch) for job in jobs)


def grade_with_workers(
    jobs: Sequence[SlideJob], workers: int = 1, scheduler: str | None = None
) -> Generator[SlideOutcome, None, None]:
    """Do jobs by dask.distributed, in the order in which they end.

    A worker that dies loses no slide: its jobs go to others, which take up the tiles that were kept.
    Where Ctrl-C ends it, or the generator is closed, processes of this machine end within one batch, or
    else are killed after 4 s; workers of a scheduler finish the slides that they have begun.

    Parameters
    ----------
    jobs : sequence of SlideJob
        Their paths must mean the same to all workers.
    workers : int
        Processes of this machine, where no scheduler is named.
    scheduler : str, optional
        Address of a dask scheduler, "tcp://host:8786". Its workers should have one thread each: a
        process grades one slide at a time, and there is a warning where they have more.

    Raises
    ------
    DeviceError
        If the scheduler does not answer.
    """
    from distributed import as_completed

    with (
        nullcontext(scheduler) if scheduler else _own_workers(workers) as where,
        _client(where) as client,
    ):
        _warn_of_idle_threads(client.nthreads().values())
        threads = None if scheduler else max(1, (os.cpu_count() or 1) // workers)
        futures = {client.submit(_do, job, threads, pure=False): job for job in jobs}
        for future in as_completed(futures):
            if future.status == "finished":
                yield future.result()
            else:
                yield SlideOutcome(futures[future], Status.FAILED, str(future.exception()), {})


@contextmanager
def _own_workers(workers: int) -> Iterator[LocalCluster]:
    """Processes of this machine that never see Ctrl-C, of which a terminal tells all: this one closes them.

    Of what dask logs as they are closed, and in them, nothing is shown: it follows from that.
    """
    from distributed import LocalCluster
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        with _interrupts_put_off():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": ":0"},  # any port: runs go side by side
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
        with silence_logging_cmgr(logging.WARNING):
            yield cluster


@contextmanager
def _interrupts_put_off() -> Iterator[None]:
    """Let Ctrl-C wait; threads and processes that are begun meanwhile never get it, but on Windows."""
    if threading.current_thread() is not threading.main_thread():  # no other thread is interrupted
        yield
        return
    waiting: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _frame: waiting.append(number))
    try:
        with _interrupts_blocked() if hasattr(signal, "pthread_sigmask") else nullcontext():
            yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if waiting:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts, it unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _client(where: object) -> Iterator[Client]:
    from distributed import Client

    with ExitStack() as stack:
        try:
            client = stack.enter_context(closing(Client(where, timeout=_PATIENCE_S)))
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"asked to grade with the dask scheduler at {where}, but: {error}; look at its address, and "
                "whether it runs"
            ) from error
        yield client


def _warn_of_idle_threads(threads: Collection[int]) -> None:
    """Warn where workers, so many threads each, are handed more slides than they grade at a time."""
    if several := sum(count > 1 for count in threads):
        _LOG.warning(
            "%d of %d dask workers have several threads, of which one grades and the others hold slides back "
            "from idle workers; start them with 'dask worker ADDRESS --nthreads 1 --nworkers N'",
            several,
            len(threads),
        )


def _do(job: SlideJob, threads: int | None) -> SlideOutcome:
    """In a worker: as many threads as are its share, if it is one of this run."""
    if threads is not None:
        torch.set_num_threads(threads)
    with _ONE_AT_A_TIME:
        return grade_to_folder(job, None if threads is None else _until_closed)


@contextmanager
def _until_closed(_grading: SlideGrading) -> Iterator[Callable[[int], None]]:
    """Go on from batch to batch until the worker is closed: then the run has ended."""
    from distributed import get_worker

    worker = get_worker()

    def go_on(_tiles: int) -> None:
        if worker.status.name == "closing":
            raise SlideError("the worker was closed")

    yield go_on


@lru_cache(maxsize=2)
def _opened(name: str, changed_ns: int) -> OpenModel:
    return open_model(name)


def _model(name: str) -> OpenModel:
    """A student, kept open from slide to slide until its file changes."""
    return _opened(name, find_model(name).stat().st_mtime_ns)


def _finished(job: SlideJob, slide: Slide, model: OpenModel) -> dict[str, Any] | None:
    """The summary of results that are there already, complete, of this job.

    What could not be read is tried again, and what was painted or forced is another's decision. A
    pixel size that was stated for a slide without one still counts.
    """
    found = read_summary(job.folder)
    if job.kept_in is None or found is None or not is_whole(job.folder, found):
        return None
    said = found.get("slide") or {}
    if slide.mpp is None and said.get("mpp_source") == USER:
        slide = slide.with_mpp(said["mpp"][0])
    grid = tile_grid(slide, model.card, job.settings.overlap)
    asked = {
        "complete": True,
        "unreadable_tiles": [],
        "key": result_key(slide, grid, model, job.settings),
        "request": request_entry(job.settings, job.regions, False, job.geojson_origin),
    }
    return found if asked == {name: found.get(name) for name in asked} else None


def _ignore(_tiles: int) -> None:
    """Nobody watches."""
