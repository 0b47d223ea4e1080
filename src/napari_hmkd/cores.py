"""The cores that a command line's process may use."""

from __future__ import annotations

import os

from dask.system import CPU_COUNT


def keep_to_allotted_cores() -> None:
    """Have torch, which is loaded later, start no more threads than this process has cores allotted.

    torch looks at the machine. In a container that may use a share of it (a quota of Docker or
    Kubernetes), threads without a core use that share up by waiting for each other. What the user
    set by OMP_NUM_THREADS stays; processes that are started inherit it.
    """
    if CPU_COUNT < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(CPU_COUNT))
