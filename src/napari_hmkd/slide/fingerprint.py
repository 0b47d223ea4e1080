"""A short text that names a slide's content, wherever its file lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from weakref import WeakKeyDictionary

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.loading.level_reader import LevelReader
from napari_hmkd.slide.pixel_hash import hash_pixels
from napari_hmkd.slide.reader_threads import READING_LIMIT_S
from napari_hmkd.slide.slide import Slide

SAMPLE_BYTES = 65_536
SAMPLES = 256
_MOST_LISTED = 50_000
_REMOTE_LIMIT_S = 120.0  # more is fetched than a slow line brings in the time of one tile

_of_address: WeakKeyDictionary[LevelReader, str] = WeakKeyDictionary()


def fingerprint(slide: Slide, limit_s: float | None = None) -> str:
    """SHA-256, in hex, of a sample of a slide's bytes: gigabytes need not be read to know it again.

    Of a file: its size and 256 samples of 64 kB, evenly spaced, the first and the last bytes among
    them; all of it up to 16 MB; and OpenSlide's own hash, which covers files that lie beside it. Of a
    folder: names and sizes of its files, and such samples of up to 256 of them.

    Of an address, whose files cannot be listed: name and size of the levels, the pixels of the coarsest
    level, all of them up to 67 Mpx, and 17 Mpx of level 0, spread over the slide (`hash_pixels`); they
    are read once while the slide is open. The same is added for a folder of more than 50,000 files, of
    which the first by name are listed.

    What remains possible: slides at addresses whose pixels differ in no coarsest level and in no tile that
    was read of level 0, as after a correction of a few tiles; and where the coarsest level has more than
    67 Mpx, slides of one size whose tissue lies wholly between its tiles. Files of one size that differ
    only between samples.

    Parameters
    ----------
    slide : Slide
        An open slide.
    limit_s : float, optional
        How long to wait for it; default: 30 s, for an address 120 s.

    Raises
    ------
    SlideReadError
        The file does not answer in time or has gone; nothing of an address can be read.
    """
    remote = is_remote(slide.path)
    work = partial(_of_store if remote else _of_files, slide)
    try:
        return slide.in_time(work, limit_s or (_REMOTE_LIMIT_S if remote else READING_LIMIT_S))
    except OSError as error:
        raise SlideReadError(f"'{slide.path}' cannot be read any more: {error}.") from error


def _of_files(slide: Slide) -> str:
    path = Path(str(slide.path))
    digest = hashlib.sha256(slide.properties.get("openslide.quickhash-1", "").encode())
    files = sorted(islice(_files_in(path), _MOST_LISTED + 1)) if path.is_dir() else [path]
    if len(files) > _MOST_LISTED:
        files = files[:_MOST_LISTED]
        digest.update(hash_pixels(slide))
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode())
    each = max(1, SAMPLES // max(1, len(files)))
    for file in files[:: max(1, len(files) // SAMPLES)]:
        for piece in _samples(file, each):
            digest.update(piece)
    return digest.hexdigest()


def _files_in(folder: Path) -> Iterator[Path]:
    """Files below a folder by name: the order in which a disk lists them is another on each."""
    for at, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(at, name) for name in sorted(names))


def _samples(path: Path, count: int) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= count * SAMPLE_BYTES:
            yield file.read()
            return
        for number in range(count):
            file.seek((size - SAMPLE_BYTES) * number // max(1, count - 1))
            yield file.read(SAMPLE_BYTES)


def _of_store(slide: Slide) -> str:
    """Of a slide at an address; later ones need not ask its server again."""
    found = _of_address.get(slide.reader)
    if found is None:
        said = repr(sorted(slide.properties.items())).encode()
        found = hashlib.sha256(said + hash_pixels(slide)).hexdigest()
        _of_address[slide.reader] = found
    return found
