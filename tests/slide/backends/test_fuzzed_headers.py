"""A thousand TIFFs and DICOM slides with spoilt headers: each opens and reads, or ends in a `SlideError`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

PROGRAM = """
import logging, resource, struct, sys, time
from pathlib import Path
import numpy as np
from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide, pyramid

LIMIT = 4 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
logging.disable()
base, scratch, first, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sound = base.read_bytes()
places = [int(place) for place in sys.argv[5].split(",")]
opened = refused = 0
slowest = 0.0
for seed in range(first, first + count):
    rng = np.random.default_rng(seed)
    spoilt = bytearray(sound)
    for place in rng.choice(places, rng.integers(1, 5)):
        wild = [0, 1, 2, 255, 65535, 2**31, 2**32 - 1, int(rng.integers(2**32))]
        value = struct.pack("<I", int(rng.choice(wild)))[: int(rng.integers(1, 5))]
        spoilt[place : place + len(value)] = value
    path = scratch / str(seed) / f"a{base.suffix}"
    path.parent.mkdir()
    path.write_bytes(spoilt)
    began = time.monotonic()
    try:
        with open_slide(path) as slide:
            opened += 1
            for level, one in enumerate(slide.levels):
                place = Region(one.size.height // 2, one.size.width // 2, 64, 64)
                slide.read_level(level, place)
            pyramid(slide)[0][:64, :64].compute()
    except SlideError as error:
        assert str(error)
        refused += 1
    slowest = max(slowest, time.monotonic() - began)
    path.unlink()
# Not getrusage: that remembers the process which started this one.
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
print(f"{count} files: {opened} opened, {refused} refused; slowest {slowest:.1f} s, peak {peak:.1f} GB")
assert opened and refused and slowest < 20 and peak < 1.5
"""


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


def run(base: Path, scratch: Path, places: list[int]) -> None:
    program = scratch / "fuzz.py"
    program.write_text(PROGRAM, encoding="utf-8")
    listed = ",".join(map(str, places))
    command = [sys.executable, program, base, scratch, 0, 167, listed]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=250, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]


@on_linux
@pytest.mark.parametrize("compression", ["zlib", "jpeg", None])
def test_spoilt_headers_end_in_an_error_in_time_and_in_memory(tmp_path: Path, compression) -> None:
    base = tmp_path / "sound.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    with tifffile.TiffWriter(base) as tiff:
        for step in (1, 2):
            tiff.write(
                pixels[::step, ::step], photometric="rgb", tile=(64, 64), compression=compression,
                subfiletype=int(step > 1), resolution=(20000, 20000), resolutionunit="CENTIMETER",
            )  # fmt: skip
    run(base, tmp_path, header_bytes(base))


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
def test_spoilt_dicom_ends_in_an_error_too(tmp_path: Path, write_dicom, noise, more) -> None:
    """OpenSlide alone ends the process over one or two of a hundred."""
    (base,) = write_dicom(tmp_path, [noise(300, 400)], **more)
    pixels = base.read_bytes().index(b"\xe0\x7f\x10\0OB")
    run(base, tmp_path, list(range(128, pixels + 200)))
