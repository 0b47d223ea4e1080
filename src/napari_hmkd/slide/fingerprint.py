"""A short text that names a slide's content: that of copies on other disks or, under its name, on other servers."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from weakref import WeakKeyDictionary

from napari_hmkd.errors import SlideReadError
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.loading.file_stamps import pixel_files, require_unchanged
from napari_hmkd.slide.loading.level_reader import LevelReader
from napari_hmkd.slide.pixel_hash import hash_pixels
from napari_hmkd.slide.reader_threads import READING_LIMIT_S
from napari_hmkd.slide.slide import Slide

SAMPLE_BYTES = 65_536
SAMPLES = 256
_MOST_LISTED = 50_000
_STORE_LIMIT_S = 120.0  # more is fetched, or asked for by name, than in the time of one tile
_OF_SYSTEMS = re.compile(r"\._.*|\.DS_Store|Thumbs\.db|desktop\.ini", re.IGNORECASE)

_of_address: WeakKeyDictionary[LevelReader, str] = WeakKeyDictionary()


def fingerprint(slide: Slide, limit_s: float | None = None) -> str:
    """SHA-256, in hex, of a sample of a slide's bytes: gigabytes need not be read to know it again.

    Of a file: its size and 256 samples of 64 kB, evenly spaced, the first and the last bytes among
    them; all of it up to 16 MB; and OpenSlide's own hash, of the coarsest level. Of a folder, and of an
    OME-TIFF, MRXS, VMS or VMU in several files: names and sizes of the files, and up to 256 such samples
    in all; of more files one from each of up to 511, and of still more one from each of 256 to 384 of
    them, evenly spaced. What systems leave in folders, such as .DS_Store, is not looked at. Of DICOM: the
    series, and sizes and samples of its levels' files alone, of whichever file or folder was opened.

    Of an address, whose files cannot be listed: the store's properties, its name or else the address's
    last part among them, the levels' sizes, the pixels of the coarsest level, all of them up to 67 Mpx,
    and 17 Mpx of level 0, spread over the slide (`hash_pixels`); they are read once while the slide is
    open. All this but the properties is added for a folder of more than 50,000 files, of which the first
    by name are listed.

    What remains possible: slides at addresses whose pixels differ in no coarsest level and in no tile that
    was read of level 0, as after a correction of a few tiles; and where the coarsest level has more than
    67 Mpx, slides of one size whose tissue lies wholly between its tiles. Files of one size that differ
    only between samples.

    Parameters
    ----------
    slide : Slide
        An open slide.
    limit_s : float, optional
        How long to wait for it; default: 30 s, for OME-Zarr 120 s.

    Raises
    ------
    SlideReadError
        A file does not answer in time, has gone, or was replaced, written to or touched since it was
        opened, which is not noticed of an OME-Zarr folder; nothing of an address can be read, or its
        server refuses a part.
    """
    work = partial(_of_store if is_remote(slide.path) else _of_files, slide)
    # Whether it is a folder is not asked here: a dead drive never answers.
    usual_s = _STORE_LIMIT_S if slide.backend == "zarr" else READING_LIMIT_S
    try:
        return slide.in_time(work, limit_s or usual_s)
    except OSError as error:
        raise SlideReadError(f"'{slide.path}' cannot be read any more: {error}.") from error


def _of_files(slide: Slide) -> str:
    digest = hashlib.sha256(slide.properties.get("openslide.quickhash-1", "").encode())
    named = _named_files(slide, Path(str(slide.path)))
    if len(named) > _MOST_LISTED:
        named = named[:_MOST_LISTED]
        digest.update(hash_pixels(slide))
    for name, file in named:
        digest.update(f"{name} {file.stat().st_size}\n".encode())
    files = [file for _, file in named]
    each = max(1, SAMPLES // max(1, len(files)))
    for file in files[:: max(1, len(files) // SAMPLES)]:
        for piece in _samples(file, each):
            digest.update(piece)
    require_unchanged(slide.reader.stamps)
    return digest.hexdigest()


def _named_files(slide: Slide, path: Path) -> list[tuple[str, Path]]:
    """The files in which a slide's pixels lie, and as what they are known again in another place."""
    is_dicom = slide.vendor == "dicom"
    if path.is_dir() and not is_dicom:
        listed = islice(_files_in(path), _MOST_LISTED + 1)
        named = [(file.relative_to(path), file) for file in listed]
        named.sort(key=lambda one: one[0].parts)  # Windows would compare paths without their case
        return [(name.as_posix(), file) for name, file in named]
    files = [Path(str(file)) for file in pixel_files(path, slide.reader.backend)]
    # The given one and DICOM's may be called anything.
    return [("." if is_dicom or file == path else file.name, file) for file in files]


def _files_in(folder: Path) -> Iterator[Path]:
    """Files below a folder by name: the order in which a disk lists them is another on each."""
    for at, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(at, name) for name in sorted(names) if not _OF_SYSTEMS.fullmatch(name))


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
