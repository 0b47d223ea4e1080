"""A short text that names a slide's content, wherever its file lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from napari_hmkd.errors import SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.reader_threads import READING_LIMIT_S
from napari_hmkd.slide.slide import Slide

SAMPLE_BYTES = 65_536
SAMPLES = 256
_MOST_LISTED = 50_000
_PLACE_PX = 64


def fingerprint(slide: Slide, limit_s: float = READING_LIMIT_S) -> str:
    """SHA-256, in hex, of a sample of a slide's bytes: gigabytes need not be read to know it again.

    Of a file: its size and 256 samples of 64 kB, evenly spaced, the first and the last bytes among
    them; all of it up to 16 MB; and OpenSlide's own hash, which covers files that lie beside it. Of a
    folder: names and sizes of its files, and such samples of up to 256 of them. Of an address: the
    sizes of the levels and nine places of the coarsest one.

    Parameters
    ----------
    slide : Slide
        An open slide.
    limit_s : float
        How long to wait for it.

    Raises
    ------
    SlideReadError
        The file does not answer in time or has gone.
    """
    work = partial(_of_pixels, slide) if is_remote(slide.path) else partial(_of_files, slide)
    try:
        return slide.in_time(work, limit_s)
    except OSError as error:
        raise SlideReadError(f"'{slide.path}' cannot be read any more: {error}.") from error


def _of_files(slide: Slide) -> str:
    path = Path(str(slide.path))
    digest = hashlib.sha256(slide.properties.get("openslide.quickhash-1", "").encode())
    files = sorted(islice(_files_in(path), _MOST_LISTED)) if path.is_dir() else [path]
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode())
    each = max(1, SAMPLES // max(1, len(files)))
    for file in files[:: max(1, len(files) // SAMPLES)]:
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
    for y in range(1, 4):
        for x in range(1, 4):
            place = Region(size.height * y // 4, size.width * x // 4, _PLACE_PX, _PLACE_PX)
            try:
                digest.update(slide.read_level(last, place).tobytes())
            except SlideStalledError:
                raise
            except SlideReadError:  # damage, too, is known again
                digest.update(b"unreadable")
    return digest.hexdigest()
