"""A progress bar with tiles per second, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _TilesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} tiles/s" if task.speed else "")


@contextmanager
def tile_progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far the tiles of a slide are done; yields the function that counts them.

    The bar goes to the standard error, and away when it is done; a file or pipe gets nothing.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _TilesPerSecond(),
        TimeRemainingColumn(),
    )
    disable = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=disable) as progress:
        yield partial(progress.advance, progress.add_task(name, total=total))
