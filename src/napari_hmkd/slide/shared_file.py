"""A file that several threads read at once."""

from __future__ import annotations

import io
import os
import threading


class SharedFile:
    """Reads at given offsets through one handle.

    `close` lets go of the handle; it is closed by the last read under way, so that no read can meet
    another file under the same number.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file: io.FileIO | None = io.FileIO(path)
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset` on.

        Raises
        ------
        ValueError
            The file was closed, or ends before.
        OSError
            The system cannot read it.
        """
        file = self._file
        if file is None:
            raise ValueError("the slide was closed; open it again")
        data = b""
        while len(data) < count:  # the system may give less than was asked for
            more = self._at(file, offset + len(data), count - len(data))
            if not more:
                raise ValueError(f"the file ends {count - len(data)} bytes early")
            data = data + more if data else more
        return data

    def _at(self, file: io.FileIO, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):  # not on Windows
            return os.pread(file.fileno(), count, offset)
        with self._lock:
            file.seek(offset)
            return file.read(count) or b""

    def close(self) -> None:
        """Read no more."""
        self._file = None
