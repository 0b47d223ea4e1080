"""Opening: formats go to their back end, bad input to a clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import PixelSizeError, SlideError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide


@pytest.mark.parametrize(
    ("name", "backend", "vendor", "size", "mpp", "source"),
    [
        ("cmu-1-small-region.svs", "openslide", "aperio", (2967, 2220), 0.499, "openslide.mpp-x"),
        ("cmu-1-small-region-dicom", "openslide", "dicom", (2967, 2220), 0.499, "openslide.mpp-x"),
        ("tcga-cr-7395-01a-01-ts1.svs", "openslide", "aperio", (3567, 4443), None, None),
        ("her2st_C2.ome.tif", "tifffile", "ome-tiff", (9911, 9274), 0.69, "OME PhysicalSizeX"),
        ("her2st_C3_generic.tif", "openslide", "generic-tiff", (9936, 9270), 0.69, None),
        ("fluorescence.ndpi", "openslide", "hamamatsu", (4864, 3968), 0.2282, "openslide.mpp-x"),
        ("boxes.tiff", "tifffile", "tiff", (250, 300), None, None),
    ],
)
def test_real_slides_open(shared_data: Path, name, backend, vendor, size, mpp, source):
    with open_slide(shared_data / "slides" / name) as slide:
        assert (slide.backend, slide.vendor) == (backend, vendor)
        assert slide.size == slide.levels[0].size == Size(*size)
        assert slide.levels[0].downsample == 1.0
        if mpp is None:
            assert slide.mpp is None
            assert slide.mpp_source is None
        else:
            assert slide.mpp == pytest.approx((mpp, mpp), abs=1e-4)
            assert slide.mpp_source == (source or "openslide.mpp-x")


def test_level_downsamples_are_exact(shared_data: Path):
    with open_slide(shared_data / "slides/tcga-cr-7395-01a-01-ts1.svs") as slide:
        assert slide.levels[1].downsample == pytest.approx((4443 / 2221 + 3567 / 1783) / 2)
        assert slide.levels[1].downsample != 2.0


def test_one_instance_of_a_dicom_folder_opens_the_slide(shared_data: Path):
    instance = sorted((shared_data / "slides/cmu-1-small-region-dicom").glob("*.dcm"))[0]
    with open_slide(instance) as slide:
        assert slide.size == Size(2967, 2220)


@pytest.mark.parametrize("name", ["broken.svs", "unopenable.tiff"])
def test_real_files_that_are_no_slides_are_refused_by_name(shared_data: Path, name: str):
    with pytest.raises(SlideError, match=name):
        open_slide(shared_data / "slides" / name)


def test_a_slide_without_a_readable_tile_opens_and_then_says_so(shared_data: Path):
    with open_slide(shared_data / "slides/unreadable.svs") as slide:
        for _ in range(2):  # the second failure is not another one
            with pytest.raises(SlideReadError, match=r"unreadable\.svs.*damaged"):
                slide.read_level(0, Region(0, 0, 16, 16))
        with pytest.raises(SlideReadError, match="No part"):
            slide.thumbnail()


def test_an_implausible_pixel_size_is_missing_and_named(shared_data: Path):
    with open_slide(shared_data / "slides/boxes.tiff") as slide:
        with pytest.raises(PixelSizeError, match=r"352\.778"):
            slide.require_mpp()
        assert slide.with_mpp(0.5).require_mpp() == (0.5, 0.5)


@pytest.mark.parametrize("content", [b"", b"not a slide", b"\x89PNG\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("suffix", [".svs", ".tif", ".ndpi", ".dcm"])
def test_a_file_that_is_no_slide_is_refused(tmp_path: Path, content: bytes, suffix: str):
    path = tmp_path / f"slide{suffix}"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=path.name):
        open_slide(path)


@pytest.mark.parametrize("header", [b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0"])
def test_a_tiff_header_alone_is_refused(tmp_path: Path, header: bytes):
    (tmp_path / "stub.tif").write_bytes(header + b"\xff" * 12)
    with pytest.raises(SlideError, match=r"stub\.tif"):
        open_slide(tmp_path / "stub.tif")


def test_nothing_there_and_a_plain_folder_are_refused(tmp_path: Path):
    with pytest.raises(SlideError, match="does not exist"):
        open_slide(tmp_path / "missing.svs")
    (tmp_path / "notes.txt").write_text("no slide", encoding="utf-8")
    with pytest.raises(SlideError, match="folder"):
        open_slide(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_truncated_tiff_is_refused_at_once(tmp_path, noise, write_pyramid, share: float):
    path = tmp_path / "cut.tif"
    write_pyramid(path, noise(300, 400), levels=2)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SlideError, match=r"cut\.tif"):
        open_slide(path)


def test_a_truncated_vendor_file_is_refused_at_once(shared_data: Path, tmp_path: Path):
    whole = (shared_data / "slides/cmu-1-small-region.svs").read_bytes()
    for share in (0.3, 0.9):
        path = tmp_path / f"cut {share}.svs"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(SlideError, match="cut"):
            open_slide(path)


@pytest.mark.parametrize("folder", ["with space", "Präparate", "スライド"])
@pytest.mark.parametrize(("compression", "backend"), [("jpeg", "openslide"), ("lzw", "tifffile")])
def test_paths_may_have_any_letters(
    tmp_path, write_pyramid, folder: str, compression: str, backend: str
):
    path = tmp_path / folder / "Fläche 1 µm.tif"
    path.parent.mkdir()
    write_pyramid(path, np.full((128, 192, 3), 99, np.uint8), compression=compression)
    with open_slide(str(path)) as slide:
        assert (slide.backend, slide.path) == (backend, path)
        assert (slide.read_level(0, Region(0, 0, 128, 192)) == 99).all()


def test_a_stated_pixel_size_overrides_the_file(tmp_path, noise, write_pyramid):
    write_pyramid(tmp_path / "a.tif", noise(64, 64), mpp=0.5)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        assert (slide.mpp, slide.mpp_source) == ((0.25, 0.25), "user")
    with pytest.raises(PixelSizeError, match="353"):
        open_slide(tmp_path / "a.tif", mpp=353)


def test_ome_and_strips_go_to_tifffile(tmp_path: Path, noise):
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(80, 90), photometric="rgb", tile=(32, 32))
    tifffile.imwrite(tmp_path / "b.tif", noise(80, 90), photometric="rgb", rowsperstrip=16)
    for name in ("a.ome.tif", "b.tif"):
        with open_slide(tmp_path / name) as slide:
            assert slide.backend == "tifffile"
