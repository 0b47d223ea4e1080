"""Lazy levels for napari."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.errors import SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import Level, Slide, open_slide, pyramid
from napari_hmkd.slide.loading.blocks import chunk_px
from napari_hmkd.slide.loading.cache import TileCache
from napari_hmkd.slide.loading.level_reader import LevelReader
from napari_hmkd.slide.pyramid import COARSEST_PX


class CountingSlide(Slide):
    """Counts what is read."""

    reads = 0

    def read_level(self, level, region, keep=False):
        self.reads += 1
        return super().read_level(level, region, keep)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_hmkd.slide.slide.Slide", CountingSlide)


def test_levels_hold_the_files_pixels(tmp_path, noise, write_pyramid):
    pixels = noise(700, 1300)
    write_pyramid(tmp_path / "a.tif", pixels, levels=2)
    with open_slide(tmp_path / "a.tif") as slide:
        arrays = pyramid(slide)
        assert [array.shape for array in arrays] == [(700, 1300, 3), (350, 650, 3)]
        assert all(array.dtype == np.uint8 for array in arrays)
        assert np.array_equal(arrays[0].compute(), pixels)
        assert np.array_equal(arrays[1].compute(), pixels[::2, ::2])


@pytest.mark.parametrize(
    "index",
    [
        np.s_[5],
        np.s_[:, 9],
        np.s_[::2, ::3],
        np.s_[::-1],
        np.s_[..., 1],
        np.s_[10:20, [1, 2, 70]],
        np.s_[-3:, :0],
        np.s_[500:600, 500:600],
    ],
)
def test_any_slice_is_right(tmp_path, noise, write_pyramid, index):
    pixels = noise(700, 600)
    write_pyramid(tmp_path / "a.tif", pixels)
    with open_slide(tmp_path / "a.tif") as slide:
        assert np.array_equal(pyramid(slide)[0][index].compute(), pixels[index])


@pytest.mark.usefixtures("counting")
def test_nothing_is_read_until_it_is_drawn(tmp_path, noise, write_pyramid):
    write_pyramid(tmp_path / "a.tif", noise(2100, 600))
    with open_slide(tmp_path / "a.tif") as slide:
        arrays = pyramid(slide)
        assert slide.reads == 0
        arrays[0][:100, :100].compute()
        assert slide.reads == 1
        whole = arrays[-1].compute()
        so_far = slide.reads
        assert np.array_equal(arrays[-1].compute(), whole)
        assert slide.reads == so_far  # computed levels are kept


@pytest.mark.parametrize("axis", [0, 1])
def test_a_file_without_a_small_level_gets_computed_ones(tmp_path, write_pyramid, axis):
    bands = np.arange(4101, dtype=np.uint32)[:, None, None] // 20
    pixels = np.broadcast_to(bands, (4101, 130, 3)).astype(np.uint8).swapaxes(0, axis)
    write_pyramid(tmp_path / "a.tif", np.ascontiguousarray(pixels))
    with open_slide(tmp_path / "a.tif") as slide:
        arrays = [array.swapaxes(0, axis) for array in pyramid(slide)]
        assert [array.shape for array in arrays] == [(4101, 130, 3), (2051, 65, 3), (1026, 33, 3)]
        assert max(arrays[-1].shape) <= COARSEST_PX
        for array in arrays[1:]:
            # napari takes the factor from the shapes: pixel i lies at (i + 0.5) * factor
            factor = 4101 / array.shape[0]
            at = (np.arange(array.shape[0]) + 0.5) * factor
            assert array[:, 3, 0].compute() == pytest.approx(np.minimum(at, 4100) / 20, abs=1.1)


@pytest.mark.parametrize(
    ("tile", "chunk"),
    [
        (Size(256, 256), 512),
        (Size(240, 240), 480),
        (Size(512, 512), 512),
        (Size(1024, 1024), 1024),
        (Size(8, 3968), 512),
        (Size(60, 3968), 540),
        (Size(1, 62), 496),
        (Size(100_000, 90_000), 512),
    ],
)
def test_chunks_are_square_and_follow_the_tiles(tile: Size, chunk: int):
    assert chunk_px(Level(Size(9999, 9999), 1.0, tile)) == chunk


def test_damage_is_drawn_as_nothing_else_looks(tmp_path, write_pyramid, damage, caplog):
    white = np.full((1024, 1024, 3), 255, np.uint8)
    write_pyramid(tmp_path / "a.tif", white, tile=(512, 512))
    damage(tmp_path / "a.tif", 3)
    with open_slide(tmp_path / "a.tif") as slide:
        drawn = pyramid(slide)[0].compute()
    assert (drawn[:512] == 255).all()
    assert {tuple(colour) for colour in drawn[512:, 512:].reshape(-1, 3)} == {
        (255, 0, 255),
        (0, 0, 0),
    }
    assert "a.tif" in caplog.text


def test_a_fault_that_passes_is_not_kept_in_computed_levels(tmp_path, write_pyramid, monkeypatch):
    write_pyramid(tmp_path / "a.tif", np.full((4200, 300, 3), 200, np.uint8))
    with open_slide(tmp_path / "a.tif") as slide:
        read, failing = slide.reader.backend.read, [True]

        def flaky(level: int, region: Region) -> np.ndarray:
            if failing and region.y < 500:
                raise SlideReadError("the server was busy")
            return read(level, region)

        monkeypatch.setattr(slide.reader.backend, "read", flaky)
        coarsest = pyramid(slide)[-1]
        drawn = coarsest.compute()
        assert (drawn != 200).any(axis=(1, 2))[:100].all()
        assert (drawn[600:] == 200).all()
        failing.clear()
        assert (coarsest.compute() == 200).all()


class Ruler:
    """A slide of two levels whose pixels say which level-0 position of an axis is their middle."""

    name, vendor, icc_profile, origin_px, pixel_sizes = "ruler", None, None, (0, 0), ()
    warnings = files_beside = ()

    def __init__(self, axis: int, size: Size, downsample: float) -> None:
        self.properties: dict[str, str] = {}
        coarse = Size(int(size.height / downsample), int(size.width / downsample))
        self.axis, self.levels = axis, (Level(size, 1.0), Level(coarse, downsample))

    def read(self, level: int, region: Region) -> np.ndarray:
        first, count = (region.y, region.height) if self.axis == 0 else (region.x, region.width)
        middle = ((first + np.arange(count) + 0.5) * self.levels[level].downsample).astype(int)
        marks = np.stack([middle // 256, middle % 256, np.zeros_like(middle)], -1)
        row = marks[:, None] if self.axis == 0 else marks[None]
        return np.broadcast_to(row, (region.height, region.width, 3)).astype(np.uint8)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("downsample", [2.0, 3.9, 4.0002, 16.0143])
@pytest.mark.parametrize("size", [Size(9001, 7003), Size(8192, 8192), Size(5000, 330)])
def test_levels_line_up_within_half_a_pixel_of_theirs(axis: int, size: Size, downsample: float):
    reader = LevelReader(Path("r"), Ruler(axis, size, downsample), "drawn", TileCache(), {})
    base, level = pyramid(Slide(Path("r"), reader))[:2]
    factor = base.shape[axis] / level.shape[axis]  # as napari takes it
    assert factor == pytest.approx(downsample, rel=1 / level.shape[axis])
    row = level[:, 0] if axis == 0 else level[0]
    high, low, padding = row.compute().astype(int).T
    drawn_at = (np.arange(len(high)) + 0.5) * factor
    off = np.abs(drawn_at - (256 * high + low))[padding == 0]
    assert len(off) >= len(high) - 1
    assert off.max() <= downsample / 2 + 1  # a mark is cut to a whole pixel
