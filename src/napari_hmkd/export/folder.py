"""The folders of slides' results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from napari_hmkd.errors import OutputError
from napari_hmkd.leftovers import tidy_up
from napari_hmkd.output_folder import FolderKind, is_there
from napari_hmkd.result_files import SUMMARY_FILE, TABLE_FILE
from napari_hmkd.wording import same_name

RESULTS = FolderKind(
    "results",
    frozenset({SUMMARY_FILE}),
    frozenset(
        {
            SUMMARY_FILE, TABLE_FILE, "tiles.parquet", "tiles.geojson", "heatmap.png", "heatmap.ome.zarr",
            "tissue.png", "report.html",
        }
    ),
)  # fmt: skip


def result_folders(
    out: Path, slides: Sequence[Path], kind: FolderKind = RESULTS, ending: str = ""
) -> list[Path]:
    """The folder of each slide's results, `out` / the slide's file name, checked but not made.

    What a killed run left beside them is removed or put back (`tidy_up`).

    Parameters
    ----------
    out : Path
    slides : sequence of Path
    kind : FolderKind
        What the folders are to hold.
    ending : str
        Follows the name of the slide.

    Raises
    ------
    OutputError
        If `out` cannot be written, two slides share a name, or a folder there is no result folder.
    """
    try:
        _check_writable(out)
        names = [Path(os.path.abspath(slide)).name for slide in slides]
    except (OSError, ValueError) as error:
        raise kind.unwritable(out, error) from error
    # File systems of Windows and macOS hold "A.svs" and "a.svs" for one name.
    seen = Counter(map(same_name, names))
    twice = sorted({name for name in names if seen[same_name(name)] > 1})
    if twice:
        raise OutputError(
            f"asked for the results of several slides named {', '.join(twice)} in {out}, where they "
            "would overwrite each other; give them in separate runs with another output folder each"
        )
    folders = [out / f"{name}{ending}" for name in names]
    try:
        tidy_up([Path(os.path.realpath(folder)) for folder in folders], kind.entries)
    except OSError as error:
        raise kind.unwritable(out, error) from error
    for folder in folders:
        kind.check_replaceable(folder)
    return folders


def _check_writable(out: Path) -> None:
    whole = out.absolute()
    there = next((path for path in (whole, *whole.parents) if is_there(path)), None)
    if there is None:  # on Windows, not even a drive or a server must be there
        raise OutputError(
            f"asked to write results to {out}, but there is no {whole.anchor}; choose another folder"
        )
    if not there.is_dir():
        raise OutputError(
            f"asked to write results to {out}, but {there} is a file; choose a folder"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(
            f"asked to write results to {out}, but {there} is not writable; choose another folder"
        )
    for name in whole.relative_to(there).parts:
        is_there(there / name)  # an error where no folder can have that name
