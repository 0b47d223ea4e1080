"""A small sample pair, opened in a real napari window."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from napari_hmkd.sample import ProceduralTissue, write_slide

MPP = 0.92
EXTENT_PX = (1400, 1900)  # 3 x 4 tiles of 512 px


@dataclass(frozen=True)
class Pair:
    he: Path
    ihc: Path


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("slides")
    tissue = ProceduralTissue(59, (EXTENT_PX[0] * MPP, EXTENT_PX[1] * MPP))
    pair = Pair(folder / "he.ome.tif", folder / "ihc.ome.tif")
    write_slide(pair.he, tissue, "he", MPP)
    write_slide(pair.ihc, tissue, "ihc", MPP)
    return pair


@pytest.fixture
def viewer(request: pytest.FixtureRequest):
    """A napari viewer; skipped where there is no napari or no screen."""
    pytest.importorskip("napari", reason="needs the napari extra")
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        pytest.skip("needs a display with OpenGL: run `make test`, or under xvfb-run")
    return request.getfixturevalue("make_napari_viewer")()
