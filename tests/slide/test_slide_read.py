"""`Slide.read` against an exact reference, at the edges, and on damage."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.errors import PixelSizeError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import Slide, open_slide

LAYOUTS = {"openslide": {"compression": "jpeg"}, "tifffile": {"tile": None, "rowsperstrip": 16}}


def exact_mean(pixels: np.ndarray, origin: tuple[float, float], size: Size, factor: float):
    """Mean over each output pixel on a white plane, from the image's two-dimensional integral."""
    margin = 200
    plane = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
    for axis, (start, count) in enumerate(zip(origin, (size.height, size.width), strict=True)):
        moved = np.moveaxis(plane, axis, 0).astype(float)
        integral = np.concatenate([np.zeros((1, *moved.shape[1:])), moved.cumsum(0)])
        edges = start + margin + np.arange(count + 1) * factor
        low = np.floor(edges).astype(int)
        share = (edges - low)[:, None, None]
        at_edges = integral[low] * (1 - share) + integral[np.minimum(low + 1, len(moved))] * share
        plane = np.moveaxis(np.diff(at_edges, axis=0) / factor, 0, axis)
    return plane


@pytest.fixture(params=LAYOUTS)
def slide(request, tmp_path: Path, noise, write_pyramid) -> Iterator[Slide]:
    """100 x 120 random pixels of 0.5 um/px, through either back end."""
    write_pyramid(tmp_path / "slide.tif", noise(100, 120), **LAYOUTS[request.param])
    with open_slide(tmp_path / "slide.tif", backend=request.param) as slide:
        yield slide


@pytest.mark.parametrize("mpp", [0.5, 0.625, 0.92, 1.0, 1.5, 8.0])
@pytest.mark.parametrize("origin", [(0, 0), (10.0, 20.0), (7.3, 11.8), (-15.5, 60.25), (70.1, -9)])
def test_a_read_is_the_exact_mean_of_the_area(slide: Slide, mpp: float, origin):
    stored = slide.read_level(0, Region(0, 0, 100, 120))
    size = Size(5, 4) if mpp > 2 else Size(23, 31)

    result = slide.read(origin, size, mpp)

    assert result.dtype == np.uint8
    expected = exact_mean(stored, origin, size, mpp / 0.5)
    assert np.abs(result - expected).max() <= 0.51  # rounding


def test_outside_the_slide_is_white(slide: Slide):
    for origin in [(-500, 0), (0, -500), (200, 0), (0, 1e6)]:
        assert (slide.read(origin, Size(8, 9), 1.0) == 255).all()
    corner = slide.read_level(0, Region(90, 110, 20, 20))
    assert np.array_equal(corner[:10, :10], slide.read_level(0, Region(90, 110, 10, 10)))
    assert (corner[10:] == 255).all()
    assert (corner[:, 10:] == 255).all()


def test_a_coarse_slide_is_enlarged_bilinearly_up_to_twice(tmp_path, write_pyramid):
    ramp = np.broadcast_to(np.arange(0, 200, 4, dtype=np.uint8)[None, :, None], (50, 50, 3))
    write_pyramid(tmp_path / "ramp.tif", np.ascontiguousarray(ramp), mpp=1.0)
    with open_slide(tmp_path / "ramp.tif") as slide:
        assert slide.enlargement(1.0) == 1.0
        assert slide.enlargement(2.0) == 1.0
        assert slide.enlargement(0.8) == pytest.approx(1.25)
        row = slide.read((10, 10), Size(4, 20), 0.5)[1, :, 0]
        centres = 10 + (np.arange(20) + 0.5) * 0.5
        assert row == pytest.approx((centres - 0.5) * 4, abs=0.51)
        with pytest.raises(PixelSizeError, match=r"2\.5 times"):
            slide.read((0, 0), Size(4, 4), 0.4)


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan")])
def test_no_pixel_size_that_is_not_positive(slide: Slide, mpp: float):
    with pytest.raises(PixelSizeError, match="positive"):
        slide.read((0, 0), Size(4, 4), mpp)


@pytest.mark.parametrize("backend", ["tifffile", "openslide"])
def test_the_nearest_finer_level_is_read(tmp_path, noise, write_pyramid, backend: str):
    pixels = noise(201, 401)  # level 1 is cut to 100 x 200: its downsample is above 2
    write_pyramid(tmp_path / "a.tif", pixels, levels=3)
    with open_slide(tmp_path / "a.tif", backend=backend) as slide:
        downsamples = [level.downsample for level in slide.levels]
        assert downsamples[1] == 401 / 200  # the longer side is bent less
        assert slide.level_for(2.0) is slide.levels[0]  # level 1 would be enlarged
        assert slide.level_for(downsamples[1]) is slide.levels[1]
        assert slide.level_for(1000) is slide.levels[2]
        assert slide.level_for(0.7) is slide.levels[0]
        part = slide.read_downsampled((0, 0), Size(50, 60), (downsamples[1],) * 2)
        assert np.array_equal(part, pixels[::2, ::2][:50, :60])


@pytest.mark.parametrize("axis", [0, 1], ids=["tall", "wide"])
def test_a_long_view_is_the_same_in_one_piece_and_in_several(
    tmp_path, noise, write_pyramid, axis: int
):
    pixels = noise(9000, 40).swapaxes(0, axis)
    write_pyramid(tmp_path / "long.tif", np.ascontiguousarray(pixels))

    def read(slide: Slide, first: int, count: int) -> np.ndarray:
        """So many pixels of 2.5 level-0 px, counted along the slide."""
        turn = slice(None, None, -1 if axis else 1)
        origin, size = (first * 2.5, 0)[turn], (count, 16)[turn]
        part = slide.read_downsampled(origin, Size(*size), (2.5, 2.5))
        return part.swapaxes(0, axis).astype(int)

    with open_slide(tmp_path / "long.tif") as slide:
        whole = read(slide, 0, 3600)
        for first in (0, 1700, 3000):
            assert np.abs(whole[first : first + 100] - read(slide, first, 100)).max() <= 1


def test_pixels_need_not_be_square(tmp_path, noise, write_pyramid):
    write_pyramid(tmp_path / "a.tif", noise(60, 60), resolution=(20_000, 10_000))
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == pytest.approx((1.0, 0.5))
        result = slide.read((0, 0), Size(60, 30), 1.0)
        assert np.array_equal(result[:, 0], slide.read((0, 0), Size(60, 1), 1.0)[:, 0])
        pairs = slide.read_level(0, Region(0, 0, 60, 60)).reshape(60, 30, 2, 3).mean(axis=2)
        assert np.abs(result - pairs).max() <= 0.51


@pytest.mark.parametrize(
    ("name", "compression", "backend"),
    [
        ("a.tif", "jpeg", "openslide"),
        ("a.tif", "zlib", "tifffile"),
        ("a.ome.tif", "jpeg", "tifffile"),
    ],
)
class TestDamage:
    """Tile 5 (row 1, column 1 of 4 x 4 tiles of 64 px) cannot be decoded."""

    @pytest.fixture
    def damaged(
        self, tmp_path, noise, write_pyramid, damage, name, compression, backend
    ) -> Iterator[Slide]:
        write_pyramid(tmp_path / name, noise(256, 256), compression=compression)
        damage(tmp_path / name, 5)
        with open_slide(tmp_path / name, backend=backend) as slide:
            yield slide

    def test_a_damaged_tile_fails_again_and_alone(self, damaged: Slide):
        for _ in range(2):
            with pytest.raises(SlideReadError, match=damaged.path.name):
                damaged.read_level(0, Region(70, 70, 8, 8))
            assert damaged.read_level(0, Region(128, 0, 128, 256)).any()
        with pytest.raises(SlideReadError):
            damaged.read((0, 0), Size(64, 64), 1.0)

    def test_threads_read_on_beside_it(self, damaged: Slide):
        def read(tile: int) -> bytes | None:
            region = Region(tile // 4 * 64, tile % 4 * 64, 64, 64)
            try:
                return damaged.read_level(0, region).tobytes()
            except SlideReadError:
                return None

        alone = [read(tile) for tile in range(16)]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(read, list(range(16)) * 5))
        assert [tile for tile, pixels in enumerate(alone) if pixels is None] == [5]
        assert together == alone * 5


def test_a_closed_slide_says_so_and_closes_twice(slide: Slide):
    other = slide.with_mpp(0.25)
    slide.close()
    slide.close()
    for one in (slide, other):
        with pytest.raises(SlideReadError, match="closed"):
            one.read_level(0, Region(0, 0, 4, 4))
