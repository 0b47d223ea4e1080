"""How much memory may be filled with what would otherwise be decoded or read again."""

from __future__ import annotations

from napari_hmkd.memory import machine_memory
from napari_hmkd.training.console import say

LEFT_BYTES = 4 * 10**9
"""What a process needs besides: 4.4 GB were measured in steps of 16 tiles of 1024 px, and 3.5 with MKD."""


def room_bytes(asked_gb: float, need: int | None = None, processes: int = 1) -> int:
    """What was asked for with `--memory-gb`, as far as the machine has it; says so where it has less.

    Filling more than there is would end in a process that the system kills, without a word.

    Parameters
    ----------
    asked_gb : float
        GB of 1e9 bytes, of each process.
    need : int, optional
        Most bytes that there are to keep; None: unknown.
    processes : int
        How many on this machine fill as much.
    """
    asked, total = int(asked_gb * 1e9), machine_memory()
    wanted = asked if need is None else min(asked, need)
    share = total // processes
    most = max(share - LEFT_BYTES, share // 2)  # small tiles leave room on a small machine, too
    if wanted > most:
        shared = f", for {processes} processes" if processes > 1 else ""
        say(
            f"warning: {most / 1e9:.1f} GB are kept in memory, not --memory-gb {asked_gb:g}: this machine "
            f"has {total / 1e9:.1f} GB{shared}, of which {(share - most) / 1e9:.1f} each are for all else"
        )
    return min(asked, most)
