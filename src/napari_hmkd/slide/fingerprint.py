"""A short text that names a slide's content, wherever its file lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.slide import Slide

SAMPLE_BYTES = 65_536
SAMPLES = 256
_MOST_FILES = 256


def fingerprint(slide: Slide) -> str:
    """SHA-256, in hex, of a sample of a slide's bytes: gigabytes need not be read to know it again.

    Of a file: its size and 256 samples of 64 kB, evenly spaced, the first and the last bytes among
    them; all of it up to 16 MB. Of a folder: names and sizes of its files, and such samples of up to
    256 of them. Of an address: the sizes of the levels and the pixels of the coarsest one.

    Raises
    ------
    SlideReadError
        The file does not answer in time or has gone, or those pixels cannot be read.
    """
    work = partial(_of_pixels, slide) if is_remote(slide.path) else partial(_of_files, slide)
    try:
        return slide.in_time(work)
    except OSError as error:
        raise SlideReadError(f"'{slide.path}' cannot be read any more: {error}.") from error


def _of_files(slide: Slide) -> str:
    path, digest = Path(str(slide.path)), hashlib.sha256()
    files = sorted(_files_in(path)) if path.is_dir() else [path]
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode())
    each = max(1, SAMPLES // max(1, len(files)))
    for file in files[:: max(1, len(files) // _MOST_FILES)]:
        for piece in _samples(file, each):
            digest.update(piece)
    return digest.hexdigest()


def _files_in(folder: Path) -> Iterator[Path]:
    return (Path(at, name) for at, _, names in os.walk(folder) for name in names)


def _samples(path: Path, count: int) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= count * SAMPLE_BYTES:
            yield file.read()
            return
        for number in range(count):
            file.seek((size - SAMPLE_BYTES) * number // max(1, count - 1))
            yield file.read(SAMPLE_BYTES)


def _of_pixels(slide: Slide) -> str:
    digest = hashlib.sha256(repr([level.size for level in slide.levels]).encode())
    last = len(slide.levels) - 1
    size = slide.levels[last].size
    digest.update(slide.read_level(last, Region(0, 0, size.height, size.width)).tobytes())
    return digest.hexdigest()
