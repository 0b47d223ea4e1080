"""What the commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_hmkd.errors import ExitCode, HmkdError

__all__ = ["BackendOption", "ExitCode", "complain"]

BackendOption = Annotated[
    str | None,
    typer.Option(
        help="Read with openslide, tifffile, pydicom, zarr or fastslide, not with what suits the file."
    ),
]


def complain(error: HmkdError | str) -> None:
    """Say what went wrong."""
    typer.echo(f"error: {error}", err=True)
