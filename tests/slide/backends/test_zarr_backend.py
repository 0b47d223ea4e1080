"""OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_hmkd.errors import SlideError, SlideReadError, SlideStalledError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx"])
@pytest.mark.parametrize("name", ["a.zarr", "Präparat 1.ome.zarr"])
def test_both_versions_open(tmp_path: Path, noise, version: str, axes: str, name: str, write_zarr):
    pixels = noise(100, 140)
    write_zarr(tmp_path / name, [pixels, pixels[::2, ::2]], version, axes)
    with open_slide(f"{tmp_path / name}/") as slide:
        assert (slide.backend, slide.mpp) == ("zarr", (0.5, 0.5))
        assert slide.mpp_source == "OME-Zarr scale"
        assert [level.downsample for level in slide.levels] == [1.0, 2.0]
        assert np.array_equal(slide.read_level(0, Region(0, 0, 100, 140)), pixels)
        assert np.array_equal(slide.read_level(1, Region(7, 9, 20, 30)), pixels[14:54:2, 18:78:2])


@pytest.mark.parametrize(
    ("unit", "scale", "mpp"),
    [("nanometer", 250.0, 0.25), ("millimeter", 0.0005, 0.5), (None, 0.5, None)],
)
def test_pixel_size_from_the_scale_and_its_unit(
    tmp_path: Path, noise, unit, scale, mpp, write_zarr
):
    write_zarr(tmp_path / "a.zarr", [noise(40, 40)], unit=unit, scale=scale)
    with open_slide(tmp_path / "a.zarr") as slide:
        assert slide.mpp == (None if mpp is None else pytest.approx((mpp, mpp)))


def test_tiles_are_the_chunks_also_where_these_are_not_square(tmp_path: Path, noise, write_zarr):
    pixels = noise(64, 100)
    write_zarr(tmp_path / "a.zarr", [pixels])
    store = zarr.open_group(tmp_path / "a.zarr")
    store.create_array("0", data=np.moveaxis(pixels, -1, 0), chunks=(1, 16, 48), overwrite=True)
    with open_slide(tmp_path / "a.zarr") as slide:
        assert slide.levels[0].tile == Size(16, 48)
        assert np.array_equal(slide.read_level(0, Region(10, 5, 40, 90)), pixels[10:50, 5:95])


def test_a_damaged_chunk_fails_alone(tmp_path: Path, noise, write_zarr):
    pixels = noise(64, 64)
    write_zarr(tmp_path / "a.zarr", [pixels])
    (tmp_path / "a.zarr/0/c/0/0/0").write_bytes(b"damaged")
    with open_slide(tmp_path / "a.zarr") as slide:
        with pytest.raises(SlideReadError, match=r"a\.zarr"):
            slide.read_level(0, Region(0, 0, 10, 10))
        assert np.array_equal(slide.read_level(0, Region(32, 0, 32, 64)), pixels[32:])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_store_that_is_gone_is_not_black(tmp_path: Path, noise, write_zarr, version: str):
    write_zarr(tmp_path / "a.zarr", [noise(64, 64)], version)
    with open_slide(tmp_path / "a.zarr") as slide:
        shutil.rmtree(tmp_path / "a.zarr")
        with pytest.raises(SlideReadError, match="the store is gone") as failed:
            slide.read_level(0, Region(0, 0, 32, 32))
        assert not isinstance(failed.value, SlideStalledError)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("lacking", "told"), [(0, False), (1, False), (10, True), (12, True)])
def test_chunks_that_are_left_out_are_the_fill_value_and_many_are_told(
    tmp_path: Path, noise, write_zarr, caplog, version: str, lacking: int, told: bool
):
    write_zarr(tmp_path / "Präparat.zarr", [noise(64, 64)], version)
    level = tmp_path / "Präparat.zarr/0"
    chunks = sorted(one for one in level.rglob("*") if one.is_file() and one.name[0] not in ".z")
    assert len(chunks) == 12
    for chunk in chunks[len(chunks) - lacking :]:
        chunk.unlink()
    with open_slide(tmp_path / "Präparat.zarr") as slide:
        blue = slide.read_level(0, Region(32, 32, 32, 32))[..., 2]
    assert (not blue.any()) is (lacking > 0)
    assert (f"lacks {lacking} of 12 chunks" in caplog.text) is told


@pytest.mark.parametrize(
    ("number", "stall"), [(errno.EIO, True), (errno.ENOTCONN, True), (errno.ENOENT, False)]
)
def test_a_drive_that_fails_is_a_stall_and_no_damage(
    tmp_path: Path, noise, write_zarr, monkeypatch, number: int, stall: bool
):
    async def fail(*_: object, **__: object) -> None:
        raise OSError(number, "of the drive")

    write_zarr(tmp_path / "a.zarr", [noise(64, 64)])
    with open_slide(tmp_path / "a.zarr") as slide:
        monkeypatch.setattr(zarr.storage.LocalStore, "get", fail)
        with pytest.raises(SlideReadError, match="of the drive") as failed:
            slide.read_level(0, Region(0, 0, 10, 10))
    assert isinstance(failed.value, SlideStalledError) is stall
    assert ("Look whether its disk" in str(failed.value)) is (stall or number == errno.ENOENT)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((64, 64, 1), np.uint8),
        ((64, 64, 3), np.uint16),
        ((64, 64, 4), np.uint8),
        ((64, 64, 5), np.uint8),
    ],
)
def test_other_images_are_refused(tmp_path: Path, shape, dtype, write_zarr):
    write_zarr(tmp_path / "a.zarr", [np.zeros(shape, dtype)])
    with pytest.raises(SlideError, match="8 bits"):
        open_slide(tmp_path / "a.zarr")


def test_a_level_that_is_smaller_along_one_axis_alone_is_left_out_and_told(
    tmp_path: Path, noise, write_zarr
):
    fine = noise(120, 203)
    coarse = fine[::4, ::4]
    write_zarr(tmp_path / "slide.zarr", [fine, fine[::2, ::4], coarse])
    with open_slide(tmp_path / "slide.zarr") as slide:
        assert [(level.size.height, level.size.width) for level in slide.levels] == [
            fine.shape[:2],
            coarse.shape[:2],
        ]
        whole = Region(0, 0, *coarse.shape[:2])
        np.testing.assert_array_equal(slide.read_level(1, whole), coarse)
        (warning,) = slide.warnings
    assert "'1' has other proportions" in warning


def test_a_first_level_that_is_not_the_largest_is_refused(tmp_path: Path, noise, write_zarr):
    fine = noise(120, 203)
    write_zarr(tmp_path / "slide.zarr", [fine[::2, ::2], fine])
    with pytest.raises(SlideError, match="has to be the largest"):
        open_slide(tmp_path / "slide.zarr")


def test_stores_without_an_image_are_refused(tmp_path: Path, noise, write_zarr):
    zarr.create_group(tmp_path / "empty.zarr", zarr_format=3)
    zarr.create_array(tmp_path / "array.zarr", data=noise(8, 8))
    write_zarr(tmp_path / "lost.zarr", [noise(40, 40)])
    (tmp_path / "lost.zarr/0/zarr.json").unlink()
    for name in ("empty.zarr", "array.zarr", "lost.zarr"):
        with pytest.raises(SlideError, match=name):
            open_slide(tmp_path / name)


def test_a_level_of_an_image_is_told_from_a_damaged_store(tmp_path: Path, noise, write_zarr):
    for version in ("0.4", "0.5"):
        write_zarr(tmp_path / version, [noise(40, 40)], version=version)
        with pytest.raises(SlideError, match="a single zarr array") as refusal:
            open_slide(tmp_path / version / "0")
        assert "damaged" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["plate", "well"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_is_named(tmp_path: Path, kind: str, version: str):
    group = zarr.create_group(tmp_path / "p.zarr", zarr_format=2 if version == "0.4" else 3)
    told = {kind: {"version": version}}
    group.attrs.update(told if version == "0.4" else {"ome": {"version": version, **told}})
    with pytest.raises(SlideError, match="is a plate, or one of its wells"):
        open_slide(tmp_path / "p.zarr")
