"""Work in the background of a window: one thing at a time, its steps and failures as signals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from napari.qt.threading import GeneratorWorker, create_worker
from psygnal import Signal

from napari_hmkd.errors import HmkdError


class _UnforeseenError(HmkdError):
    """A RuntimeError that a worker would swallow."""


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
        self._failed = False

    @property
    def running(self) -> bool:
        """Whether a worker is at work."""
        return self._worker is not None

    def close(self) -> None:
        """End everything: the viewer is going away. What the worker is at, it finishes unheard."""
        if self._worker is not None:
            for signal in (self._worker.yielded, self._worker.errored, self._worker.finished):
                signal.disconnect()
            self._worker = None
            self._at_work.discard(self)

    def _begin(self, what: str, work: Callable[..., Iterator[Any]], *arguments: object) -> None:
        """Start a worker; messages call what it does `what`."""
        self._failed = False
        # Else each error would be raised in the window's thread, a refusal that is told as well.
        worker = create_worker(
            guarded, what, work, *arguments, _start_thread=False, _ignore_errors=True
        )
        worker.yielded.connect(self._on_step)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._worker = worker
        self._at_work.add(self)
        worker.start()

    @abstractmethod
    def _on_step(self, step: Any) -> None:
        """Take what the work has yielded."""

    def _on_error(self, error: Exception) -> None:
        self._failed = True
        self.failed.emit(str(error))
        if isinstance(error, _UnforeseenError) or not isinstance(error, HmkdError):
            raise error  # napari reports it

    def _on_finished(self) -> None:
        self._worker = None
        self._at_work.discard(self)
        self.ended.emit(not self._failed)


def guarded(what: str, work: Callable[..., Iterator[Any]], *arguments: object) -> Iterator[Any]:
    """The steps of `work`. A RuntimeError a worker would swallow, and never finish: none leaves.

    Raises
    ------
    HmkdError
        In place of a RuntimeError.
    """
    try:
        yield from work(*arguments)
    except RuntimeError as error:
        raise _UnforeseenError(f"{what} stopped: {error}; try again") from error
