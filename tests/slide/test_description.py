"""Facts about a slide whose file has changed since it was opened."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import description, open_slide, pyramid
from napari_hmkd.slide.description import describe, live_facts


def test_the_size_of_a_file_and_of_a_folder(tmp_path: Path, write_pyramid, write_zarr):
    pixels = np.zeros((64, 64, 3), np.uint8)
    write_pyramid(tmp_path / "a.tif", pixels)
    write_zarr(tmp_path / "b.zarr", [pixels])
    with open_slide(tmp_path / "a.tif") as slide:
        assert describe(slide)["file size"].endswith("bytes")
    with open_slide(tmp_path / "b.zarr") as slide:
        held = [one.stat().st_size for one in (tmp_path / "b.zarr").rglob("*") if one.is_file()]
        assert describe(slide)["file size"].endswith(f" kB, a folder of {len(held)} files")
        assert float(describe(slide)["file size"].split()[0]) == pytest.approx(
            sum(held) / 1e3, 5e-3
        )


def test_the_size_is_not_known_where_the_disk_stalls(tmp_path: Path, write_pyramid, monkeypatch):
    write_pyramid(tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(description, "_ASKING_LIMIT_S", 0.1)
    answer = threading.Event()
    with open_slide(tmp_path / "a.tif") as slide:
        monkeypatch.setattr(description, "_size_on_disk", lambda _: answer.wait(20))
        assert "does not answer" in describe(slide)["file size"]
        answer.set()


@pytest.mark.parametrize("name", ["a.tif", "b.zarr"])
def test_a_removed_slide_is_said_to_be_gone(tmp_path: Path, write_pyramid, write_zarr, name: str):
    pixels = np.zeros((64, 64, 3), np.uint8)
    path = tmp_path / name
    write_zarr(path, [pixels]) if name.endswith("zarr") else write_pyramid(path, pixels)
    with open_slide(path) as slide:
        try:
            path.rename(tmp_path / "elsewhere")
        except PermissionError:
            pytest.skip("Windows moves no file that is open")
        assert describe(slide)["file size"].startswith("gone")
        assert describe(slide)["dimensions"].startswith("64 x 64 px")


def test_what_was_drawn_as_unreadable_is_told(tmp_path: Path, write_pyramid):
    path = tmp_path / "a.tif"
    write_pyramid(path, np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8))
    with open_slide(path) as slide:
        assert "drawn as unreadable" not in describe(slide)

        def damaged(level: int, region: Region) -> np.ndarray:
            raise SlideReadError(f"tile {region.y} is damaged")

        slide.reader.backend.read = damaged
        level = pyramid(slide)[0]
        for top in (0, 512, 0):
            level[top : top + 8, :8].compute()
        told = live_facts(slide)["drawn as unreadable"]
        assert told.startswith("2 parts, the last: tile 0")


def test_a_giant_without_small_levels_is_told(tmp_path: Path, write_pyramid, monkeypatch):
    write_pyramid(tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint8))
    with open_slide(tmp_path / "a.tif") as slide:
        assert "computed" not in describe(slide)["levels"]
        large = replace(slide.levels[0], size=Size(60_000, 60_000))
        monkeypatch.setattr(slide, "levels", (large,))
        assert "computed when they are drawn, which takes minutes" in describe(slide)["levels"]


def test_a_pixel_size_that_contradicts_itself_is_told_until_another_is_stated(
    tmp_path: Path, write_pyramid
):
    write_pyramid(
        tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint8), resolution=(1e4 / 0.15, 1e4 / 0.9)
    )
    with open_slide(tmp_path / "a.tif") as slide:
        assert "0.9 x 0.15 um/px" in describe(slide)["warnings"]
        assert describe(slide.with_mpp(0.5))["warnings"] == "none"
