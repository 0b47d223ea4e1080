"""Result folders: each appears complete or not at all, and nothing else is lost."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from napari_hmkd.errors import OutputError

MARK = "summary.json"  # a folder that holds it is a result folder
RESULTS = frozenset({"tiles.csv", MARK, "heatmap.png", "tissue.png"})


def result_folders(out: Path, slides: Sequence[Path]) -> list[Path]:
    """The folder of each slide's results, `out` / the slide's file name, checked but not made.

    Raises
    ------
    OutputError
        If `out` cannot be written, two slides share a name, or a folder there is no result folder.
    """
    _check_writable(out)
    names = [Path(os.path.abspath(slide)).name for slide in slides]
    # File systems of Windows and macOS hold "A.svs" and "a.svs" for one name.
    seen = Counter(map(_same_name, names))
    twice = sorted({name for name in names if seen[_same_name(name)] > 1})
    if twice:
        raise OutputError(
            f"asked for the results of several slides named {', '.join(twice)} in {out}, where they "
            "would overwrite each other; grade them in separate runs with another output folder each"
        )
    folders = [out / name for name in names]
    for folder in folders:
        _check_replaceable(folder)
    return folders


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Fill a new folder beside the target, which takes its place only if all went well.

    An older result folder is replaced; what a user put into it besides is kept.

    Yields
    ------
    pathlib.Path
        The empty folder to write into.

    Raises
    ------
    OutputError
        If the folder cannot be written or replaced.
    """
    part = folder.with_name(f".{uuid4().hex}.part")
    try:
        _check_replaceable(folder)
        part.mkdir(parents=True)
        yield part
        _put_in_place(part, folder)
    except OSError as error:
        raise OutputError(
            f"asked to write results to {folder}, but: {error}; close programs that show files of that "
            "folder, look at its permissions and the free space, or choose another output folder"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put_in_place(part: Path, folder: Path) -> None:
    if not folder.exists():
        part.rename(folder)
        return
    old = part.with_suffix(".old")
    folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    for entry in old.iterdir():
        # An older result that has no successor would be taken for a part of the new ones.
        if entry.name not in RESULTS and not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    shutil.rmtree(old, ignore_errors=True)


def _same_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _check_writable(out: Path) -> None:
    there = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not there.is_dir():
        raise OutputError(
            f"asked to write results to {out}, but {there} is a file; choose a folder"
        )
    if not os.access(there, os.W_OK):
        raise OutputError(
            f"asked to write results to {out}, but {there} is not writable; choose another folder"
        )


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file()):
        raise OutputError(
            f"asked to write results to {folder}, but what is there was not written by this program "
            f"(no {MARK} in it) and is left alone; choose another output folder"
        )
