"""Opening: formats go to their back end, bad input to a clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import PixelSizeError, SlideError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import Slide, open_slide, opening


@pytest.mark.parametrize(
    ("name", "backend", "vendor", "size", "mpp", "source"),
    [
        ("cmu-1-small-region.svs", "tifffile", "aperio", (2967, 2220), 0.499, "aperio.MPP"),
        ("cmu-1-small-region-dicom", "openslide", "dicom", (2967, 2220), 0.499, "openslide.mpp-x"),
        ("tcga-cr-7395-01a-01-ts1.svs", "tifffile", "aperio", (3567, 4443), None, None),
        ("her2st_C2.ome.tif", "tifffile", "ome-tiff", (9911, 9274), 0.69, "OME PhysicalSizeX"),
        ("her2st_C3_generic.tif", "tifffile", "tiff", (9936, 9270), 0.69, "TIFF resolution"),
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
            assert slide.mpp_source == source


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
@pytest.mark.parametrize("backend", ["openslide", "tifffile"])
def test_paths_may_have_any_letters(tmp_path, write_pyramid, folder: str, backend: str):
    path = tmp_path / folder / "Fläche 1 µm.tif"
    path.parent.mkdir()
    write_pyramid(path, np.full((128, 192, 3), 99, np.uint8), compression="jpeg")
    with open_slide(str(path), backend=backend) as slide:
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


# ---------------------------------------------------------------------- forced back ends


@pytest.fixture
def everything(tmp_path: Path, noise, write_pyramid, write_zarr) -> Path:
    """One slide of each kind that the tests can write."""
    write_pyramid(tmp_path / "a.tif", noise(128, 192), levels=2)
    tifffile.imwrite(tmp_path / "strips.tif", noise(80, 90), photometric="rgb", rowsperstrip=16)
    write_zarr(tmp_path / "a.zarr", [noise(64, 64)])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "chosen", "because"),
    [("a.tif", "tifffile", "tifffile decodes"), ("a.zarr", "zarr", "OME-Zarr")],
)
def test_the_choice_is_explained(everything: Path, name: str, chosen: str, because: str):
    with open_slide(everything / name) as slide:
        assert slide.backend == chosen
        assert because in slide.backend_reason


@pytest.mark.parametrize(
    ("name", "backend"), [("a.tif", "openslide"), ("a.tif", "tifffile"), ("a.zarr", "zarr")]
)
def test_a_back_end_can_be_insisted_on(everything: Path, name: str, backend: str):
    with open_slide(everything / name, backend=backend) as slide:
        assert (slide.backend, slide.backend_reason) == (backend, "asked for")


@pytest.mark.parametrize(
    ("name", "backend", "why", "instead"),
    [
        ("a.tif", "zarr", "no zarr store", "tifffile opens it"),
        ("a.zarr", "tifffile", "no TIFF header", "zarr opens it"),
        ("a.zarr", "openslide", "folder", "zarr opens it"),
        ("strips.tif", "openslide", "OpenSlide says", "tifffile opens it"),
    ],
)
def test_a_back_end_that_cannot_says_why_and_which_can(
    everything: Path, name: str, backend: str, why: str, instead: str
):
    with pytest.raises(SlideError, match=f"(?s){backend}, which was asked for.*{why}.*{instead}"):
        open_slide(everything / name, backend=backend)


@pytest.mark.parametrize("backend", ["openslide", "tifffile", "zarr", "fastslide"])
@pytest.mark.parametrize("content", [b"", b"no slide", b"II*\0 no tiff either"])
def test_no_back_end_opens_what_is_no_slide(tmp_path: Path, backend: str, content: bytes):
    (tmp_path / "a.svs").write_bytes(content)
    for path in (tmp_path / "a.svs", tmp_path / "missing.svs", tmp_path):
        with pytest.raises(SlideError, match=path.name):
            open_slide(path, backend=backend)


def test_a_back_end_that_does_not_exist_is_named_with_those_that_do(everything: Path):
    with pytest.raises(SlideError, match="'bioformats'; there are openslide, tifffile, zarr, fast"):
        open_slide(everything / "a.tif", backend="bioformats")


def test_a_vendor_s_own_tiff_is_not_for_tifffile(shared_data: Path):
    with pytest.raises(SlideError, match=r"'hamamatsu'.*openslide opens it"):
        open_slide(shared_data / "slides/fluorescence.ndpi", backend="tifffile")


@pytest.mark.parametrize("share", [0.3, 0.98])
@pytest.mark.parametrize("backend", ["openslide", "tifffile"])
def test_insisting_opens_no_truncated_file(tmp_path, noise, write_pyramid, backend, share: float):
    path = tmp_path / "cut.tif"
    write_pyramid(path, noise(300, 400))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SlideError, match=r"cut\.tif"):
        open_slide(path, backend=backend)


def test_an_svs_that_tifffile_cannot_read_goes_to_openslide(shared_data: Path, monkeypatch):
    def refuse(path: Path) -> None:
        raise ValueError("an unheard-of codec")

    monkeypatch.setattr(opening, "TiffBackend", refuse)
    with open_slide(shared_data / "slides/cmu-1-small-region.svs") as slide:
        assert slide.backend == "openslide"
        assert "an unheard-of codec" in slide.backend_reason


# ---------------------------------------------------------------------- they agree

LOSSY = {"photometric": "ycbcr", "compression": "jpeg"}


@pytest.mark.parametrize(
    "more",
    [
        {"compression": "zlib"},
        {"compression": "lzw", "predictor": True},
        {"compression": None},
        {**LOSSY, "subsampling": (1, 1)},
        {**LOSSY, "subsampling": (2, 2)},
        {"photometric": "rgb", "compression": "jpeg"},
    ],
    ids=lambda more: "-".join(map(str, more.values())),
)
def test_tifffile_and_openslide_read_the_same_pixels(tmp_path, noise, write_pyramid, more):
    """To the last bit, JPEG included: both have libjpeg-turbo enlarge halved colours smoothly."""
    write_pyramid(tmp_path / "a.tif", noise(256, 320).repeat(2, 0), levels=2, **more)
    with (
        open_slide(tmp_path / "a.tif", backend="tifffile") as first,
        open_slide(tmp_path / "a.tif", backend="openslide") as second,
    ):
        _assert_same(first, second, tolerance=0)


@pytest.mark.parametrize(
    "name", ["cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs", "her2st_C3_generic.tif"]
)
def test_tifffile_and_openslide_agree_on_real_slides(shared_data: Path, name: str):
    path = shared_data / "slides" / name
    with (
        open_slide(path, backend="tifffile") as first,
        open_slide(path, backend="openslide") as second,
    ):
        assert first.mpp == (second.mpp and pytest.approx(second.mpp, rel=1e-4))
        _assert_same(first, second, tolerance=0)


def test_a_store_with_the_pixels_of_a_tiff_reads_the_same(
    tmp_path, noise, write_pyramid, write_zarr
):
    pixels = noise(128, 192)
    write_pyramid(tmp_path / "a.tif", pixels, levels=2)
    write_zarr(tmp_path / "a.zarr", [pixels, pixels[::2, ::2]])
    with open_slide(tmp_path / "a.tif") as first, open_slide(tmp_path / "a.zarr") as second:
        _assert_same(first, second, tolerance=0)


def _assert_same(first: Slide, second: Slide, tolerance: int) -> None:
    """Each level's top left corner, where OpenSlide does not interpolate; level 0's middle, too."""
    assert [level.size for level in first.levels] == [level.size for level in second.levels]
    factors = [[level.downsample for level in slide.levels] for slide in (first, second)]
    assert factors[0] == pytest.approx(factors[1])
    middle = Region(first.size.height // 2 - 13, first.size.width // 2 - 7, 100, 90)
    places = [(0, middle), *((level, Region(0, 0, 128, 128)) for level in range(len(factors[0])))]
    assert first.read_level(0, middle).std() > 1  # something is seen
    for level, region in places:
        one, other = (slide.read_level(level, region).astype(int) for slide in (first, second))
        assert np.abs(one - other).max() <= tolerance
