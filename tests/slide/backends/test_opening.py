"""Opening: formats go to their back end, bad input to a clear error."""

from __future__ import annotations

import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from PIL import Image
from skimage.data import astronaut

from napari_hmkd.errors import PixelSizeError, SlideError, SlideReadError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.backends import opening


@pytest.mark.parametrize(
    ("name", "backend", "vendor", "size", "mpp", "source"),
    [
        ("cmu-1-small-region.svs", "tifffile", "aperio", (2967, 2220), 0.499, "aperio.MPP"),
        ("cmu-1-small-region-dicom", "pydicom", "dicom", (2967, 2220), 0.499, "DICOM PixelSpacing"),
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
    path = shared_data / "slides/tcga-cr-7395-01a-01-ts1.svs"
    for backend in ("tifffile", "openslide"):
        with open_slide(path, backend=backend) as slide:
            assert slide.levels[1].downsample == 4443 / 2221  # the longer side's


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
        with pytest.raises(PixelSizeError, match=r"352\.78"):
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
def test_a_truncated_tiff_is_refused_at_once(tmp_path, noise, write_pyramid, caplog, share: float):
    path = tmp_path / "cut.tif"
    write_pyramid(path, noise(300, 400), levels=2)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SlideError, match=r"cut\.tif"):
        open_slide(path)
    assert "tifffile" not in caplog.text, "raw words of the library"


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


def test_an_svs_that_tifffile_cannot_read_goes_to_openslide(shared_data: Path, monkeypatch):
    def refuse(path: Path) -> None:
        raise ValueError("an unheard-of codec")

    monkeypatch.setattr(opening, "TiffBackend", refuse)
    with open_slide(shared_data / "slides/cmu-1-small-region.svs") as slide:
        assert slide.backend == "openslide"
        assert "an unheard-of codec" in slide.backend_reason


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_whose_colours_tifffile_cannot_convert_goes_to_openslide(
    tmp_path, write_pyramid, compression
):
    pixels = astronaut()[:192, :256]
    stored = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    path = tmp_path / "a.tif"
    write_pyramid(path, stored, photometric="ycbcr", subsampling=(1, 1), compression=compression)
    with open_slide(path) as slide:
        assert slide.backend == "openslide"
        assert "YCBCR" in slide.backend_reason
        shown = slide.read_level(0, Region(0, 0, 192, 256)).astype(int)
    assert np.abs(shown - pixels).mean() < 2


def test_what_openslide_cannot_open_either_is_refused_with_the_first_reason(tmp_path, noise):
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, noise(64, 64), photometric="ycbcr", subsampling=(1, 1))
    with pytest.raises(SlideError, match="stored as YCBCR"):
        open_slide(path)


def test_aperio_s_ycbcr_in_jpeg_2000_goes_to_openslide(tmp_path: Path):
    pixels = astronaut()[:128, :128]
    stored = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    tile = imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k", mct=False, reversible=True)
    tifffile.imwrite(
        tmp_path / "a.svs", iter([tile]), shape=pixels.shape, dtype=np.uint8, photometric="rgb",
        tile=(128, 128), compression=33003, metadata=None,
        description="Aperio Image Library v11.2.1\r\n128x128 (128x128) J2K/YUV16 Q=70|MPP = 0.25",
    )  # fmt: skip
    with open_slide(tmp_path / "a.svs") as slide:
        assert slide.backend == "openslide"
        shown = slide.read_level(0, Region(0, 0, 128, 128)).astype(int)
    assert np.abs(shown - pixels).mean() < 2


@pytest.mark.parametrize("level", [1, 2])
def test_an_svs_whose_coarse_tiles_are_empty_goes_to_openslide(tmp_path: Path, level: int):
    pixels = astronaut()[:512, :512]
    kind = "Aperio Image Library v11.2.1\r\n512x512 (64x64) JPEG/RGB Q=70|MPP = 0.5"
    settings = {"photometric": "rgb", "compression": "zlib", "metadata": None, "description": kind}
    with tifffile.TiffWriter(tmp_path / "a.svs") as tiff:
        tiff.write(pixels, tile=(64, 64), **settings)
        tiff.write(pixels[::8, ::8], **settings)
        for step in (2, 4):
            tiff.write(pixels[::step, ::step], tile=(64, 64), **settings)
    with tifffile.TiffFile(tmp_path / "a.svs", mode="r+") as tiff:
        counts = tiff.pages[level + 1].tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])
    with open_slide(tmp_path / "a.svs") as slide:
        assert slide.backend == "openslide"
        assert "empty tiles" in slide.backend_reason
        shown = slide.read_level(level, Region(0, 0, 64, 64)).astype(int)
    step = 2**level
    assert np.abs(shown - pixels[::step, ::step][:64, :64]).mean() < 20
    with pytest.raises(SlideError, match="empty tiles"):
        open_slide(tmp_path / "a.svs", backend="tifffile")


@pytest.mark.parametrize("backend", [None, "openslide"])
def test_a_mrxs_without_its_folder_says_so(tmp_path: Path, backend: str | None):
    Image.fromarray(astronaut()).save(tmp_path / "case 1.mrxs", "JPEG")
    with pytest.raises(SlideError, match=r"folder 'case 1' beside it, which is missing"):
        open_slide(tmp_path / "case 1.mrxs", backend=backend)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("backend", [None, "openslide"])
def test_a_link_to_an_instance_opens_the_dicom_slide(
    shared_data: Path, tmp_path: Path, link, together: bool, backend: str | None
):
    """Alone elsewhere, or with its fellows as links to a store where each file lies by itself."""
    for number, instance in enumerate(
        sorted((shared_data / "slides/cmu-1-small-region-dicom").glob("*.dcm"))
    ):
        target = instance
        if together:
            target = tmp_path / "store" / str(number) / instance.name
            target.parent.mkdir(parents=True)
            target.write_bytes(instance.read_bytes())
        path = tmp_path / ("links" if together else str(number)) / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        link(path, target)
    with open_slide(tmp_path / ("links" if together else "0") / "0.dcm", backend=backend) as slide:
        assert slide.size == Size(2967, 2220)


def test_a_folder_of_two_dicom_slides_is_refused_with_a_file_of_each(shared_data, tmp_path):
    folder = tmp_path / "two slides"
    folder.mkdir()
    instances = sorted((shared_data / "slides/cmu-1-small-region-dicom").glob("*.dcm"))
    with openslide.OpenSlide(instances[0]) as slide:
        series = slide.properties["dicom.SeriesInstanceUID"].encode()
    for instance in instances:
        (folder / f"a {instance.name}").write_bytes(instance.read_bytes())
    with open_slide(folder) as slide:  # several instances, one series
        assert slide.size == Size(2967, 2220)
    other = series[:-1] + bytes([series[-1] ^ 1])
    for instance in instances:
        (folder / f"b {instance.name}").write_bytes(instance.read_bytes().replace(series, other))
    with pytest.raises(SlideError, match=r"holds 2 DICOM slides.*'a \S*dcm', 'b \S*dcm'"):
        open_slide(folder)
    with open_slide(folder / f"b {instances[0].name}") as slide:
        assert slide.size == Size(2967, 2220)


def test_an_archive_is_to_be_unpacked(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "slide.zip", "w") as archive:
        archive.writestr("slide.mrxs", b"")
    with pytest.raises(SlideError, match=r"slide\.zip' is a ZIP archive\. Unpack it"):
        open_slide(tmp_path / "slide.zip")


def test_dicom_that_is_no_slide_is_called_so(tmp_path: Path):
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    data.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    with pytest.raises(SlideError, match="is DICOM, and no whole-slide image"):
        open_slide(tmp_path / "ct.dcm")
