"""What the benchmarks share: interleaved runs, ratios with their intervals, tables, peak memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

FULL = os.environ.get("HMKD_BENCHMARK") == "full"
"""Whether the full form was asked for, on a machine that does nothing else."""

ROUNDS = 7 if FULL else 2
TOLERANCE = 1.05
"""How much longer than its fastest rival something may take and still be level with it."""

MB = 2**20
_RESAMPLINGS = 2000
_SAMPLING_S = 0.002

Seconds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Ratio:
    """Time over a rival's: the ratio of medians, and its 95 % interval over the rounds."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interleaved(tasks: Mapping[str, Callable[[int], float]], rounds: int = ROUNDS) -> Seconds:
    """Every task once a round, each round beginning with another: float (rounds,) for each.

    A task is given the round's number and answers how many seconds it took.
    """
    names = list(tasks)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for one in range(rounds):
        first = one % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(tasks[name](one))
    return {name: np.array(values) for name, values in seconds.items()}


def time_ratio(seconds: np.ndarray, rival: np.ndarray) -> Ratio:
    """Bootstrap over rounds: what disturbed a round disturbed both."""
    rounds = np.random.default_rng(0).integers(0, len(seconds), (_RESAMPLINGS, len(seconds)))
    ratios = np.median(seconds[rounds], axis=1) / np.median(rival[rounds], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Ratio(float(np.median(seconds) / np.median(rival)), float(low), float(high))


def fastest(seconds: Seconds, names: Iterable[str]) -> str:
    """The one with the least median."""
    return min(names, key=lambda name: float(np.median(seconds[name])))


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns of text, aligned; `pytest -s` shows them."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def print_seconds(title: str, seconds: Seconds) -> None:
    """How long each took in the middle, at the least and at the most."""
    print_table(
        title,
        ["", "median", "least", "most"],
        [
            [name, *(f"{value:.2f} s" for value in (np.median(values), min(values), max(values)))]
            for name, values in seconds.items()
        ],
    )


class PeakMemory:
    """The most memory that a process holds within a `with` block, above what it held before.

    It is sampled every 2 ms, so that a shorter peak can be missed.

    Attributes
    ----------
    mb : float
        Growth of the resident set, in units of 2**20 bytes.
    """

    def __init__(self, pid: int | None = None) -> None:
        import psutil

        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.mb = 0.0

    def __enter__(self) -> Self:
        self._before = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        last = False
        while not last:
            last = self._over.wait(_SAMPLING_S)
            held = self._process.memory_info().rss - self._before
            self.mb = max(self.mb, held / MB)
