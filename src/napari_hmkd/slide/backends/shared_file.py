"""A file that several threads read at once."""

from __future__ import annotations

import io
import os
import threading


class FileClosedError(ValueError):
    """The file was closed before it was read."""


class SharedFile:
    """Reads at given offsets through one handle.

    `close` closes the handle at once, or leaves it to the last read under way: no read can meet
    another file under the same number.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = io.FileIO(path)
        self._seeking = threading.Lock()
        self._state = threading.Lock()  # of the two below
        self._readers = 0
        self._closed = False

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset` on.

        Raises
        ------
        FileClosedError
            The file was closed.
        ValueError
            The file ends before.
        OSError
            The system cannot read it.
        """
        data = b""
        self._begin()
        try:
            while len(data) < count:  # the system may give less than was asked for
                more = self._at(offset + len(data), count - len(data))
                if not more:
                    raise ValueError(f"the file ends {count - len(data)} bytes early")
                data = data + more if data else more
        finally:
            self._end()
        return data

    def _begin(self) -> None:
        """Keep the handle open."""
        with self._state:
            if self._closed:
                raise FileClosedError("it was closed; open it again to read it")
            self._readers += 1

    def _end(self) -> None:
        with self._state:
            self._readers -= 1
            self._close_if_unused()

    def _at(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):  # not on Windows
            return os.pread(self._file.fileno(), count, offset)
        with self._seeking:
            self._file.seek(offset)
            return self._file.read(count) or b""

    def close(self) -> None:
        """Read no more; closing twice is no fault."""
        with self._state:
            self._closed = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and not self._readers:
            self._file.close()
