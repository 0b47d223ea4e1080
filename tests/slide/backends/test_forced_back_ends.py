"""A back end that is insisted on, and the reason for one that is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.slide import open_slide


@pytest.fixture
def everything(tmp_path: Path, noise, write_pyramid, write_zarr, write_dicom) -> Path:
    """One slide of each kind that the tests can write."""
    write_pyramid(tmp_path / "a.tif", noise(128, 192), levels=2)
    tifffile.imwrite(tmp_path / "strips.tif", noise(80, 90), photometric="rgb", rowsperstrip=16)
    write_zarr(tmp_path / "a.zarr", [noise(64, 64)])
    write_dicom(tmp_path, [noise(64, 64)])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "chosen", "because"),
    [
        ("a.tif", "tifffile", "tifffile decodes"),
        ("a.zarr", "zarr", "OME-Zarr"),
        ("0.dcm", "pydicom", "pydicom decodes"),
    ],
)
def test_the_choice_is_explained(everything: Path, name: str, chosen: str, because: str):
    with open_slide(everything / name) as slide:
        assert slide.backend == chosen
        assert because in slide.backend_reason


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("a.tif", "openslide"),
        ("a.tif", "tifffile"),
        ("a.zarr", "zarr"),
        ("0.dcm", "pydicom"),
        ("0.dcm", "openslide"),
    ],
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
        ("a.tif", "pydicom", "no whole-slide DICOM", "tifffile opens it"),
        ("0.dcm", "tifffile", "no TIFF header", "pydicom opens it"),
        ("strips.tif", "openslide", "OpenSlide says", "tifffile opens it"),
    ],
)
def test_a_back_end_that_cannot_says_why_and_which_can(
    everything: Path, name: str, backend: str, why: str, instead: str
):
    with pytest.raises(SlideError, match=f"(?s){backend}, which was asked for.*{why}.*{instead}"):
        open_slide(everything / name, backend=backend)


@pytest.mark.parametrize(
    ("shape", "dtype", "photometric", "why"),
    [
        ((64, 64, 3), np.uint16, "rgb", "uint16"),
        ((64, 64), np.uint8, "minisblack", "grey"),
        ((64, 64), np.uint8, "palette", "palette"),
        ((2, 64, 64, 3), np.uint8, "rgb", "axes are"),
        ((3, 64, 64), np.uint8, "minisblack", "only one of its colours"),
    ],
)
@pytest.mark.parametrize("backend", ["openslide", "fastslide"])
def test_openslide_makes_no_picture_of_what_is_no_slide(
    tmp_path: Path, shape, dtype, photometric: str, why: str, backend: str
):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "CYX"} if shape[0] == 3 else None
    tifffile.imwrite(
        path, np.zeros(shape, dtype), photometric=photometric, tile=(32, 32), metadata=metadata,
        planarconfig="contig" if photometric == "rgb" else None,
    )  # fmt: skip
    with pytest.raises(SlideError, match=why):
        open_slide(path, backend=backend)


def test_openslide_s_first_page_must_be_the_slide(tmp_path: Path, noise):
    settings = {"photometric": "rgb", "tile": (32, 32), "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise(96, 64), description="Label", **settings)
        tiff.write(noise(128, 128), **settings)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.size.width == 128
    with pytest.raises(SlideError, match="first page"):
        open_slide(tmp_path / "a.tif", backend="openslide")


@pytest.mark.parametrize("backend", ["openslide", "tifffile", "pydicom", "zarr", "fastslide"])
@pytest.mark.parametrize("content", [b"", b"no slide", b"II*\0 no tiff either"])
def test_no_back_end_opens_what_is_no_slide(tmp_path: Path, backend: str, content: bytes):
    (tmp_path / "a.svs").write_bytes(content)
    for path in (tmp_path / "a.svs", tmp_path / "missing.svs", tmp_path):
        with pytest.raises(SlideError, match=path.name):
            open_slide(path, backend=backend)


def test_a_back_end_that_does_not_exist_is_named_with_those_that_do(everything: Path):
    with pytest.raises(SlideError, match="'bioformats'; there are openslide, tifffile, pydicom, z"):
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
