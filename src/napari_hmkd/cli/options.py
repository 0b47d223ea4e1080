"""What the commands share."""

from __future__ import annotations

import sys
from glob import escape, glob
from typing import Annotated

import typer

from napari_hmkd.errors import HmkdError

SlidesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SLIDE", help="Whole-slide images of H&E, folders of them, or their addresses."
    ),
]
SampleOption = Annotated[bool, typer.Option("--sample", help="The sample slide, too.")]
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


def typed_words() -> list[str]:
    """What was typed after the program's name; a name with * or ? stands for the files that match it.

    Shells of Windows leave that to programs; elsewhere they have done it.
    """
    words = sys.argv[1:]
    return (
        [name for word in words for name in _matching(word)] if sys.platform == "win32" else words
    )


def _matching(word: str) -> list[str]:
    """Files by name, or the word itself where none matches; brackets are letters, as in Windows' own."""
    if not {"*", "?"} & set(word):
        return [word]
    pattern = escape(word).replace("[*]", "*").replace("[?]", "?")
    return sorted(glob(pattern)) or [word]


def require_slides(slides: list[str] | None, sample: bool) -> list[str]:
    """The slides that are named, if any is, or the sample is asked for.

    Raises
    ------
    typer.BadParameter
        If not.
    """
    if not slides and not sample:
        raise typer.BadParameter("give at least one SLIDE, or --sample")
    return slides or []


def complain(error: HmkdError | str) -> None:
    """Say what went wrong."""
    typer.echo(f"error: {error}", err=True)
