"""Work in the background of a window: one thing at a time, its steps and failures as signals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, ClassVar

from napari.qt.threading import GeneratorWorker, create_worker
from psygnal import Signal

from napari_hmkd.errors import HmkdError


@dataclass(frozen=True, slots=True)
class Failure:
    """The last step of work that failed."""

    error: Exception


class BackgroundRun(ABC):
    """Runs a generator of steps in a thread; all else happens in the window's.

    It lives until its worker has ended, even if its panel is gone.

    Signals
    -------
    failed(message)
        What else than an `HmkdError` it was, napari reports too.
    ended(bool)
        The worker has stopped; whether nothing failed.
    """

    failed = Signal(str)
    ended = Signal(bool)

    _at_work: ClassVar[set[BackgroundRun]] = set()

    def __init__(self) -> None:
        self._worker: GeneratorWorker | None = None
        self._listener = _Listener(None)
        self._what = ""
        self._failed = False
        self._stop = Event()

    @property
    def running(self) -> bool:
        """Whether a worker is at work."""
        return self._worker is not None

    @property
    def stopping(self) -> bool:
        """Whether the worker was asked to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the worker to end; it does after the step it is at."""
        self._stop.set()

    def close(self) -> None:
        """End everything: the viewer is going away. What the worker is at, it finishes unheard."""
        self.stop()
        self._let_go()

    def _begin(self, what: str, work: Callable[..., Iterator[Any]], *arguments: object) -> None:
        """Start a worker; messages call what it does `what`."""
        self._what, self._failed = what, False
        self._listener.run = None
        worker = create_worker(guarded, work, *arguments, _start_thread=False)
        self._worker, self._listener = worker, _Listener(self)
        # No bound methods: on one whose object is gone PySide6 calls what was on its way.
        worker.yielded.connect(partial(_Listener.hear_step, self._listener))
        worker.finished.connect(partial(_Listener.hear_end, self._listener))
        self._at_work.add(self)
        worker.start()

    def _begin_once(self, what: str, work: Callable[..., object], *arguments: object) -> None:
        """Start work whose result is its only step."""
        self._stop = Event()
        self._begin(what, _once, work, *arguments)

    def _let_go(self) -> None:
        """Hear no more of a worker."""
        self._worker = None
        self._listener.run = None
        self._at_work.discard(self)

    @abstractmethod
    def _on_step(self, step: Any) -> None:
        """Take what the work has yielded."""

    def _on_yielded(self, step: Any) -> None:
        if not isinstance(step, Failure):
            self._on_step(step)
            return
        self._failed = True
        if isinstance(step.error, HmkdError):
            self.failed.emit(str(step.error))
            return
        self.failed.emit(f"{self._what} stopped: {step.error}; try again")
        raise step.error  # napari reports it

    def _on_finished(self) -> None:
        self._let_go()
        self.ended.emit(not self._failed)


@dataclass(slots=True)
class _Listener:
    """Hears one worker for a run, until the run lets go of it.

    Nothing is disconnected: napari keeps each worker as long as its window, with all that is connected to
    it, and has itself to hear of the end; and PySide6 passes on what was on its way even then.
    """

    run: BackgroundRun | None

    def hear_step(self, step: object) -> None:
        if self.run is not None:
            self.run._on_yielded(step)

    def hear_end(self) -> None:
        if self.run is not None:
            self.run._on_finished()


def _once(work: Callable[..., object], *arguments: object) -> Iterator[object]:
    yield work(*arguments)


def guarded(work: Callable[..., Iterator[Any]], *arguments: object) -> Iterator[Any]:
    """The steps of `work`, the last of them a `Failure` where it fails.

    No error reaches the worker: it would swallow a RuntimeError and never finish, and what napari has it
    do with another one fails itself under PySide6.
    """
    try:
        yield from work(*arguments)
    except Exception as error:
        yield Failure(error)
