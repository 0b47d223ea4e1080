"""The one tree of errors: every failure a user can cause or meet is an `HmkdError`.

None of them is a `RuntimeError`, because a napari worker swallows that class and hangs.
Each message says what was asked, what was found and what to do.
"""

import errno
import logging
import re
from collections.abc import Iterable
from enum import IntEnum

# Of Python, of glibc when a library is loaded that finds no room, and of torch on a CPU.
_NO_ROOM = re.compile(
    "can't start new thread|failed to map segment from shared object|CPUAllocator"
)
_NO_ROOM_ON_WINDOWS = 1450, 1455  # no resources; the paging file is too small
_REFUSALS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
}
"""Of permissions, space and limits. Other errors of the system, as that there is no such file, can be a fault of the program."""


class ExitCode(IntEnum):
    """What a command returns, from the best to the worst; of several slides' codes the worst one."""

    GOOD = 0
    UNREADABLE_TILES = 3
    FAILED = 2

    @staticmethod
    def worst(codes: Iterable["ExitCode"]) -> "ExitCode":
        """The last of them in this order; there must be one."""
        return max(codes, key=list(ExitCode).index)


class HmkdError(Exception):
    """Base of every error that this package raises on purpose."""


class SlideError(HmkdError):
    """A slide cannot be opened or used."""


class SlideReadError(SlideError):
    """A region of an open slide cannot be read."""


class SlideStalledError(SlideReadError):
    """An open slide's disk or network failed, or did not answer in time."""


class PixelSizeError(SlideError):
    """The pixel size is missing, implausible, or too coarse for the model."""


class UnsuitableSlideError(SlideError):
    """The slide is no sharp H&E with tissue on it, and grading it was not insisted on."""


class AlignmentError(HmkdError):
    """The IHC slide cannot be laid over the H&E slide: flipped, unrelated, or landmarks that say nothing."""


class ModelError(HmkdError):
    """A model file or card cannot be used."""


class DeviceError(HmkdError):
    """The compute device failed, is missing, or ran out of memory."""


class DataError(HmkdError):
    """Data to train or to compare with is missing, unpaired or unusable."""


class OutputError(HmkdError):
    """Results cannot be written where they were asked for, or not read back."""


def refused_by_system(error: BaseException) -> str | None:
    """What to tell of an error by which the system refuses this process something; None for any other.

    A traceback says no more of a full disk, a file that may not be read, or a container's memory.
    """
    if (
        isinstance(error, MemoryError)
        or (isinstance(error, (RuntimeError, ImportError)) and _NO_ROOM.search(str(error)))
        or getattr(error, "winerror", None) in _NO_ROOM_ON_WINDOWS
    ):
        return (
            f"this process may have no more memory or threads ({str(error) or type(error).__name__}); raise the limits "
            "of its container, batch job or shell (ulimit -v, ulimit -u), or close other programs"
        )
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return (
            f"the system refused this process something: {error}; look at the free space, the permissions and the "
            "limits (ulimit -a)"
        )
    return None


def reason_of(error: Exception) -> str:
    """What an error says, for a message that names the file: a KeyError by itself says a bare key."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or repr(error)


def unforeseen(slide: str, error: Exception, log: logging.Logger) -> str:
    """What to tell of a slide whose work ended in an error that is no `HmkdError`.

    The log gets the traceback of what is the program's own fault.
    """
    refusal = refused_by_system(error)
    if refusal is None:
        log.error("%s ended in an error of the program", slide, exc_info=error)
    return f"{slide}: {refusal or repr(error)}"
