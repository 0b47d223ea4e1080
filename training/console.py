"""What a person sees while a command runs; all of it on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
_silent = False


def silence() -> None:
    """Print nothing from now on: of several processes that train together one speaks."""
    global _silent
    _silent = True


def say(text: str) -> None:
    """Print one line."""
    Console(stderr=True, quiet=_silent).print(text, soft_wrap=True, highlight=False, markup=False)


def tracked(items: Iterable[Item], text: str, total: int) -> Iterator[Item]:
    """The items, with a progress bar where a person watches."""
    console = Console(stderr=True, quiet=_silent)
    if not console.is_terminal:
        say(f"{text}: {total}")
    return iter(track(items, text, total, console=console, disable=not console.is_terminal))
