"""Progress bars, on a terminal only: a file or pipe gets nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _TilesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} tiles/s" if task.speed else "")


@contextmanager
def tile_progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many tiles of a slide are done; yields the function that counts them."""
    with _bar(MofNCompleteColumn(), _TilesPerSecond()) as bar:
        yield partial(bar.advance, bar.add_task(name, total=total))


@contextmanager
def told_when_stopped(name: str, kept_tiles: Callable[[], int]) -> Iterator[None]:
    """Say, when Ctrl-C ends the work on a slide, how much of it is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        kept = kept_tiles()
        after = ", and the same command goes on from there" if kept else ""
        typer.echo(f"{name}: stopped; {kept or 'no'} tiles are kept{after}", err=True)
        raise


@contextmanager
def share_progress(name: str) -> Iterator[Callable[[float], None]]:
    """Show the share of a piece of work that is done; yields the function to tell it to, 0 to 1."""
    with _bar(TaskProgressColumn()) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _bar(*counters: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *counters,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
