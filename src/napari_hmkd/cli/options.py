"""What the commands share."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import typer

from napari_hmkd.errors import HmkdError

BackendOption = Annotated[
    str | None,
    typer.Option(
        help="Read with openslide, tifffile, zarr or fastslide, not with what suits the file."
    ),
]


class ExitCode(IntEnum):
    """What a command returns; of several slides' codes the worst one."""

    GOOD = 0
    UNREADABLE_TILES = 3
    FAILED = 2


def complain(error: HmkdError | str) -> None:
    """Say what went wrong."""
    typer.echo(f"error: {error}", err=True)
