"""What a person sees while a command runs; all of it on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track

Item = TypeVar("Item")
PULSE_S = 60.0
_silent = False


def silence() -> None:
    """Print nothing from now on: of several processes that train together one speaks."""
    global _silent
    _silent = True


def say(text: str) -> None:
    """Print one line."""
    console = Console(stderr=True, quiet=_silent, emoji=False)  # ":car:" in a name is none
    console.print(text, soft_wrap=True, highlight=False, markup=False)


class Pulse:
    """Prints a line a minute, for logs, where no bar shows that work goes on."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def say(self, text: str) -> None:
        """Print the line, unless the last one, or the start, was less than `PULSE_S` ago."""
        now = time.monotonic()
        if now - self._last >= PULSE_S:
            say(text)
            self._last = now


def tracked(items: Iterable[Item], text: str, total: int) -> Iterator[Item]:
    """The items, with a progress bar where a person watches, and now and then a line elsewhere."""
    console = Console(stderr=True, quiet=_silent)
    if console.is_terminal:
        return iter(track(items, escape(text), total, console=console))
    say(f"{text}: {total}")
    return _counted(items, text, total)


def _counted(items: Iterable[Item], text: str, total: int) -> Iterator[Item]:
    pulse = Pulse()
    for done, item in enumerate(items, 1):
        yield item
        if done < total:
            pulse.say(f"{text}: {done} of {total}")
