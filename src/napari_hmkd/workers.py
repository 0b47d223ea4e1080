"""Many slides in several processes, by dask.distributed, which is only imported where it is asked for."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from importlib.metadata import version
from socket import gethostname
from typing import TYPE_CHECKING

import torch
from dask.system import CPU_COUNT

from napari_hmkd.cohort import SlideJob, SlideOutcome, Status, grade_to_folder
from napari_hmkd.errors import DeviceError, SlideError
from napari_hmkd.grading import SlideGrading

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 60
# Threads of one worker share its network, its GPU's memory and torch's threads: two slides at once
# would be no faster than one after the other, and need twice the memory.
_ONE_AT_A_TIME = threading.Lock()


def grade_with_workers(
    jobs: Sequence[SlideJob], workers: int = 1, scheduler: str | None = None
) -> Generator[SlideOutcome, None, None]:
    """Do jobs by dask.distributed, in the order in which they end.

    A worker that dies loses no slide: its jobs go to others, which take up the tiles that were kept.
    Where Ctrl-C ends it, or the generator is closed, workers begin no other slide and end theirs within
    one batch. Processes of this machine are killed after 4 s, and another Ctrl-C does not wait for that.

    Parameters
    ----------
    jobs : sequence of SlideJob
        Their paths must mean the same to all workers, which must have this version of napari-hmkd.
    workers : int
        Processes of this machine, where no scheduler is named.
    scheduler : str, optional
        Address of a dask scheduler, "tcp://host:8786". Its workers should have one thread each: a
        process grades one slide at a time, and there is a warning where they have more.

    Raises
    ------
    DeviceError
        If the scheduler does not answer, or no processes can be started.
    """
    from distributed import as_completed

    with (
        _workers_of(scheduler) if scheduler else _own_workers(workers) as where,
        _client(where) as client,
    ):
        _warn_of_idle_threads(client.nthreads().values())
        threads = None if scheduler else max(1, CPU_COUNT // workers)
        wanted = version("napari-hmkd")
        futures = {client.submit(_do, job, threads, wanted, pure=False): job for job in jobs}
        for future in as_completed(futures):
            try:
                outcome = future.result()
            except Exception:  # its worker or the scheduler may have gone meanwhile
                outcome = SlideOutcome(futures[future], Status.FAILED, _reason(future, where), {})
            yield outcome


def _reason(future: Future, where: object) -> str:
    """Why a worker gave no outcome of its slide."""
    if future.status == "error":
        return str(future.exception())
    return (
        f"the dask scheduler at {where} is gone, or has dropped this slide: start it and its workers again; "
        "the same command goes on with what is missing"
    )


@contextmanager
def _workers_of(scheduler: str) -> Iterator[str]:
    """Workers that others have started.

    What dask logs once their scheduler is gone is not shown: slides say it, without a traceback.
    """
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr(logging.CRITICAL):
        yield scheduler


@contextmanager
def _own_workers(workers: int) -> Iterator[LocalCluster]:
    """Processes of this machine that never see Ctrl-C, of which a terminal tells all: this one closes them.

    Of what dask logs as they are closed, and in them, nothing is shown: it follows from that.
    """
    from distributed import LocalCluster
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        with _interrupts_put_off():
            try:
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": ":0"},  # any port: runs go side by side
                    silence_logs=logging.CRITICAL,
                )
            except (OSError, RuntimeError) as error:
                raise DeviceError(
                    f"asked to grade in {workers} processes of this machine, but: {error}; give them a folder for "
                    "temporary files (TMPDIR), memory, threads and files (ulimit -a), or leave out --workers"
                ) from error
            stack.callback(_close, cluster)
        with silence_logging_cmgr(logging.WARNING):
            yield cluster


def _close(cluster: LocalCluster) -> None:
    """Close workers; Ctrl-C meanwhile leaves that to the end of this process, which ends them at once."""
    try:
        cluster.close()
    except KeyboardInterrupt:
        # Else dask waits 10 s, as Python ends, for a close that was cancelled.
        cluster.shutdown_on_close = False
        raise


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


def _do(job: SlideJob, threads: int | None, wanted: str) -> SlideOutcome:
    """In a worker: as many threads as are its share, if it is one of this run.

    Another version than is wanted would leave out settings that it does not know.
    """
    if (found := version("napari-hmkd")) != wanted:
        return SlideOutcome(
            job,
            Status.FAILED,
            f"asked for napari-hmkd {wanted}, but a dask worker on {gethostname()} has {found}: start workers "
            "of the version that grades, and give the same command again",
            {},
        )
    if threads is not None:
        torch.set_num_threads(threads)
    with _ONE_AT_A_TIME:
        return grade_to_folder(job, _while_wanted)


@contextmanager
def _while_wanted(_grading: SlideGrading) -> Iterator[Callable[[int], None]]:
    """Go on from batch to batch until nobody waits for the slide any more: then the run has ended."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]

    def go_on(_tiles: int) -> None:
        if task.state == "cancelled":
            raise SlideError("the run has ended")

    yield go_on
