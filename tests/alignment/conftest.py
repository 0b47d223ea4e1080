"""Slides that the tests write and open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.alignment.sections import MPP, drawn

from napari_hmkd.slide import Slide, open_slide


@pytest.fixture
def write_slide(tmp_path: Path) -> Iterator[Callable[..., Slide]]:
    """Write pixels as a tiled TIFF and open it; without `mpp` the file states none."""
    with ExitStack() as opened:

        def write(name: str, pixels: np.ndarray, mpp: float | None) -> Slide:
            stated: dict[str, Any] = {}
            if mpp is not None:
                stated = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
            tifffile.imwrite(tmp_path / name, pixels, photometric="rgb", tile=(256, 256), **stated)
            return opened.enter_context(open_slide(tmp_path / name))

        yield write


@pytest.fixture
def he_slide(write_slide: Callable[..., Slide]) -> Slide:
    """The H&E of section 1."""
    return write_slide("he.tif", drawn(1).he, MPP)


@pytest.fixture
def ihc_slide(write_slide: Callable[..., Slide]) -> Slide:
    """Its IHC, registered."""
    return write_slide("ihc.tif", drawn(1).ihc, MPP)
