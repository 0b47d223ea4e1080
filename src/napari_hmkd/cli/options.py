"""What the commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_hmkd.errors import HmkdError

BackendOption = Annotated[
    str | None,
    typer.Option(
        help="Read with openslide, tifffile, pydicom, zarr or fastslide, not with what suits the file."
    ),
]
MppOption = Annotated[
    float | None,
    typer.Option(
        help="Pixel size of level 0, um/px, where a file lacks it or is wrong; wins over it."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cuda, cuda:1, mps or cpu.")]
PrecisionOption = Annotated[
    str, typer.Option(help="auto (bfloat16 on GPUs that have it), float32 or bfloat16.")
]


def complain(error: HmkdError | str) -> None:
    """Say what went wrong."""
    typer.echo(f"error: {error}", err=True)
