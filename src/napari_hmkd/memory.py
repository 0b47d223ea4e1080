"""The memory that this process may have, and what it keeps instead of giving it back after each layer or tile."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

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


def machine_memory() -> int:
    """Bytes of the machine, or of the container or batch job that this process runs in."""
    from distributed.system import MEMORY_LIMIT  # loads slowly

    return min([MEMORY_LIMIT, *_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _group_limits(own: Path, root: Path) -> list[int]:
    """Limits of this process's control group and those above it; distributed looks at the uppermost alone."""
    try:
        groups = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:  # not Linux
        return []
    # Version 2 names no controllers.
    places = {"": (root, "memory.max"), "memory": (root / "memory", "memory.limit_in_bytes")}
    files = []
    for _, controllers, name in groups:
        if controllers in places:
            top, file = places[controllers]
            group = top / name.strip("/")
            files += [up / file for up in (group, *group.parents) if up.is_relative_to(top)]
    said = [file.read_text().strip() for file in files if file.is_file()]
    return [int(limit) for limit in said if limit.isdigit()]
