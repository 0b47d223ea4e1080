"""A thousand TIFFs and DICOM slides with spoilt headers: each opens and reads, or ends in a `SlideError`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pytest
import tifffile


def header_bytes(path: Path) -> list[int]:
    """Where the bytes of a TIFF's header and of its pages' tags lie."""
    with tifffile.TiffFile(path) as tiff:
        places = list(range(16))
        for page in tiff.pages:
            for tag in page.tags:
                places += range(tag.offset, tag.offset + 12)
                if tag.valueoffset > tag.offset + 12:
                    places += range(tag.valueoffset, tag.valueoffset + min(64, tag.valuebytecount))
    return places


on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="limits its own memory as Linux lets it"
)


@pytest.fixture(scope="module")
def fresh_processes() -> BaseContext:
    """Processes of their own, forked from one that has imported what they need."""
    found = get_context("forkserver")
    found.set_forkserver_preload(["tests.slide.backends.fuzzing"])
    return found


@pytest.fixture
def fuzz(fresh_processes: BaseContext, tmp_path: Path) -> Callable[[Path, list[int]], None]:
    """Spoil a slide at some of these bytes, 167 times."""
    from tests.slide.backends.fuzzing import open_spoilt  # Linux alone has what it imports

    def run(base: Path, places: list[int]) -> None:
        process = fresh_processes.Process(target=open_spoilt, args=(base, tmp_path, 167, places))
        process.start()
        process.join(250)
        process.kill()
        assert process.exitcode == 0

    return run


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("compression", ["zlib", "jpeg", None])
def test_spoilt_headers_end_in_an_error_in_time_and_in_memory(
    tmp_path: Path, fuzz, compression
) -> None:
    base = tmp_path / "sound.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    with tifffile.TiffWriter(base) as tiff:
        for step in (1, 2):
            tiff.write(
                pixels[::step, ::step], photometric="rgb", tile=(64, 64), compression=compression,
                subfiletype=int(step > 1), resolution=(20000, 20000), resolutionunit="CENTIMETER",
            )  # fmt: skip
    fuzz(base, header_bytes(base))


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"organization": "TILED_SPARSE"},
        {"table": "extended"},
        {"coding": "plain", "photometric": "RGB"},
    ],
    ids=["basic table", "sparse", "extended table", "uncompressed"],
)
def test_spoilt_dicom_ends_in_an_error_too(tmp_path: Path, fuzz, write_dicom, noise, more) -> None:
    """OpenSlide alone ends the process over one or two of a hundred."""
    (base,) = write_dicom(tmp_path, [noise(300, 400)], **more)
    pixels = base.read_bytes().index(b"\xe0\x7f\x10\0OB")
    fuzz(base, list(range(128, pixels + 200)))
