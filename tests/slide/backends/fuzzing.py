"""Open slides with spoilt headers, in a process that limits its own memory as Linux lets it."""

from __future__ import annotations

import logging
import resource
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region
from napari_hmkd.slide import open_slide, pyramid

LIMIT_BYTES = 4 * 2**30


def open_spoilt(base: Path, scratch: Path, count: int, places: Sequence[int]) -> None:
    """Spoil so many copies of a slide at some of these bytes; each opens and reads, or ends in a `SlideError`."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    logging.disable()
    sound = base.read_bytes()
    opened, slowest = 0, 0.0
    refusals: list[str] = []
    for seed in range(count):
        path = scratch / str(seed) / f"a{base.suffix}"
        path.parent.mkdir()
        path.write_bytes(spoilt(sound, places, seed))
        began = time.monotonic()
        try:
            read_some(path)
            opened += 1
        except SlideError as error:
            refusals.append(str(error))
        slowest = max(slowest, time.monotonic() - began)
        path.unlink()
    # Not getrusage: that remembers the process which started this one.
    status = Path("/proc/self/status").read_text()
    peak_gb = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    said = (
        f"{opened} opened, {len(refusals)} refused; slowest {slowest:.1f} s, peak {peak_gb:.1f} GB"
    )
    print(f"{count} files: {said}", flush=True)
    assert opened, said
    assert refusals, said
    assert all(refusals), "each says why"
    assert slowest < 20, said
    assert peak_gb < 1.5, said


def spoilt(sound: bytes, places: Sequence[int], seed: int) -> bytes:
    """With one to four wild values of one to four bytes each."""
    rng = np.random.default_rng(seed)
    found = bytearray(sound)
    for place in rng.choice(places, rng.integers(1, 5)):
        wild = [0, 1, 2, 255, 65535, 2**31, 2**32 - 1, int(rng.integers(2**32))]
        value = struct.pack("<I", int(rng.choice(wild)))[: int(rng.integers(1, 5))]
        found[place : place + len(value)] = value
    return bytes(found)


def read_some(path: Path) -> None:
    """A region of each level, and a corner of the pyramid."""
    with open_slide(path) as slide:
        for level, one in enumerate(slide.levels):
            slide.read_level(level, Region(one.size.height // 2, one.size.width // 2, 64, 64))
        pyramid(slide)[0][:64, :64].compute()
