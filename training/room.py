"""How much memory may be filled with what would otherwise be decoded or read again."""

from __future__ import annotations

from napari_hmkd.memory import machine_memory
from napari_hmkd.training.console import say

LEFT_BYTES = 4 * 10**9
"""What a process needs besides: 4.4 GB were measured in steps of 16 tiles of 1024 px, and 3.5 with MKD."""
_LEAST_SHARE = 4
"""Of a small machine a quarter may be filled: small tiles need less besides."""


def room_bytes(asked_gb: float, need: int, processes: int = 1) -> int:
    """What was asked for with `--memory-gb`, as far as the machine has it; says so where it has less.

    Filling more than there is would end in a process that the system kills, without a word.

    Parameters
    ----------
    asked_gb : float
        GB of 1e9 bytes, of each process.
    need : int
        Most bytes that there are to keep, as far as is known.
    processes : int
        How many on this machine fill as much.
    """
    asked, total = int(asked_gb * 1e9), machine_memory()
    each = total // processes
    most = max(each - LEFT_BYTES, each // _LEAST_SHARE)
    if min(asked, need) > most:
        shared = f", for {processes} processes" if processes > 1 else ""
        say(
            f"warning: {most / 1e9:.1f} GB are kept in memory, not --memory-gb {asked_gb:g}: this machine "
            f"has {total / 1e9:.1f} GB{shared}, of which {(each - most) / 1e9:.1f} each are for all else"
        )
    return min(asked, most)
