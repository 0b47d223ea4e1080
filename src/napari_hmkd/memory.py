"""Memory that a program of its own keeps instead of giving it back after each layer or tile."""

from __future__ import annotations

import ctypes
import sys

# Options of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_KEPT_BYTES, _STEP_BYTES = 2**31 - 1, 64 * 2**20


def keep_freed_memory() -> bool:
    """Have glibc keep up to 2 GB that were freed for what is asked for next; elsewhere do nothing.

    Large arrays would otherwise be given back and asked for again, and the system hands out each 4 kB
    of them with a fault: on the virtual machine of 2026-11-25 3 us, a third of a training step. It is
    for command lines, whose process is theirs, and not for a napari that others share.

    Returns
    -------
    Whether there was a glibc that took it.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    options = {
        _MMAP_MAX: 0,
        _TRIM_THRESHOLD: _KEPT_BYTES,
        _TOP_PAD: _STEP_BYTES,
        _ARENA_MAX: 1,  # a thread's own would go with the thread
    }
    # A list, as each is to be set whatever the others say.
    return all([mallopt(option, value) for option, value in options.items()])
