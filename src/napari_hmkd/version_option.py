"""`--version`, for every program of the package."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer


def _tell(asked: bool) -> None:
    if asked:
        print(f"napari-hmkd {version('napari-hmkd')}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option("--version", callback=_tell, is_eager=True, help="Say the version, and end."),
]
