"""A label's picture and a header can carry a patient's name: neither is shown or written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.layers import slide_layer
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe

NAME = "Erika Mustermann"
LABEL = np.array([7, 77, 177], np.uint8)
HEADER = f"|AppMag = 20|MPP = 0.5|Date = 01/02/20|User = {NAME}|Filename = {NAME}|Patient = {NAME}"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """An SVS as Aperio writes it: the slide, a thumbnail, the next level, label and macro."""
    tissue = np.random.default_rng(0).integers(180, 256, (512, 640, 3), np.uint8)
    label = np.broadcast_to(LABEL, (900, 900, 3))  # larger than the slide
    with tifffile.TiffWriter(tmp_path / "a.svs") as tiff:
        kind = "Aperio Image Library v11.2.1\r\n640x512 (64x64) JPEG/RGB Q=70"
        tiled = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", "metadata": None}
        flat = {"photometric": "rgb", "compression": "zlib", "metadata": None}
        tiff.write(tissue, description=kind + HEADER, **tiled)
        tiff.write(tissue[::8, ::8], description=kind + HEADER, **flat)
        tiff.write(tissue[::2, ::2], description=kind + HEADER, **tiled)
        tiff.write(
            label,
            description="Aperio Image Library v11.2.1\r\nlabel 900x900",
            subfiletype=1,
            **flat,
        )
        tiff.write(
            label,
            description="Aperio Image Library v11.2.1\r\nmacro 900x900",
            subfiletype=9,
            **flat,
        )
    return tmp_path / "a.svs"


@pytest.mark.parametrize("backend", ["tifffile", "openslide"])
def test_label_and_macro_are_no_part_of_the_slide(labelled: Path, backend: str):
    with open_slide(labelled, backend=backend) as slide:
        assert [level.size for level in slide.levels] == [Size(512, 640), Size(256, 320)]
        arrays, _, _ = slide_layer(slide)
        whole = slide.read_level(0, Region(0, 0, 512, 640))
        for pixels in (whole, slide.thumbnail(), *(array.compute() for array in arrays)):
            assert not (pixels == LABEL).all(axis=-1).any()


@pytest.mark.parametrize("backend", ["tifffile", "openslide"])
def test_a_header_s_names_are_not_passed_on(labelled: Path, backend: str):
    with open_slide(labelled, backend=backend) as slide:
        facts = describe(slide)
        assert facts["objective"] == "20x"
        assert facts["scan date"] == "01/02/20"
        assert NAME not in " ".join(facts.values())
        assert NAME not in str(slide_layer(slide)[1])


def test_a_dicom_patient_is_not_passed_on(labelled: Path, monkeypatch: pytest.MonkeyPatch):
    real = openslide.OpenSlide.properties.fget
    named = {"dicom.PatientName": NAME, "dicom.PatientID": NAME, "openslide.comment": NAME}
    both = property(lambda slide: {**real(slide), **named})
    monkeypatch.setattr(openslide.OpenSlide, "properties", both)
    with open_slide(labelled, backend="openslide") as slide:
        assert NAME in slide.properties.values()
        assert NAME not in " ".join(describe(slide).values())


CALLED = [
    "label image", "Macro image", "Label", "thumbnail", "overview", "slide label", "Label 1",
    "label_image", "MacroImage", "Label Image #1", "macro mask image", "SlideLabel", "LABEL",
]  # fmt: skip


@pytest.mark.parametrize("name", CALLED)
def test_a_larger_label_of_an_ome_tiff_is_not_taken_for_the_slide(tmp_path: Path, name: str):
    tissue = np.random.default_rng(0).integers(180, 256, (300, 400, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        tiff.write(
            np.broadcast_to(LABEL, (900, 900, 3)), photometric="rgb", metadata={"Name": name}
        )
        tiff.write(tissue, photometric="rgb", metadata={"Name": "Scan 1"})
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert np.array_equal(slide.read_level(0, Region(0, 0, 300, 400)), tissue)


def two_pages(path: Path, label_side: int, **label: object) -> np.ndarray:
    """A plain TIFF of a slide and, on the next page, its label; the slide's pixels."""
    tissue = np.random.default_rng(0).integers(180, 256, (300, 300, 3), np.uint8)
    settings = {"photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(tissue, **settings)
        tiff.write(np.broadcast_to(LABEL, (label_side, label_side, 3)), **settings, **label)
    return tissue


@pytest.mark.parametrize(
    "label", [*({"description": name} for name in CALLED), {"subfiletype": 1}, {"subfiletype": 9}]
)
def test_a_larger_label_of_a_plain_tiff_is_not_taken_for_the_slide(tmp_path: Path, label):
    tissue = two_pages(tmp_path / "a.tif", 900, **label)
    with open_slide(tmp_path / "a.tif") as slide:
        assert np.array_equal(slide.read_level(0, Region(0, 0, *tissue.shape[:2])), tissue)


def test_a_label_of_half_the_slide_s_size_is_no_level(tmp_path: Path):
    two_pages(tmp_path / "a.tif", 150, description="Label", subfiletype=1)
    with open_slide(tmp_path / "a.tif") as slide:
        assert [level.size for level in slide.levels] == [Size(300, 300)]


@pytest.mark.parametrize(
    "more", [{"metadata": {"Name": f"Label {NAME}"}}, {"description": f"slide label {NAME}"}]
)
def test_an_only_image_that_is_called_label_is_refused(tmp_path: Path, more):
    path = tmp_path / ("a.ome.tif" if "metadata" in more else "a.tif")
    tifffile.imwrite(path, np.broadcast_to(LABEL, (90, 90, 3)), photometric="rgb", **more)
    with pytest.raises(SlideError, match=r"no slide's image.*label.*another name") as refusal:
        open_slide(path)
    assert NAME not in str(refusal.value)


@pytest.mark.parametrize("name", ["Overview of tumour.tif", "Labelled tumour", "Macrophages"])
def test_an_only_image_with_such_a_word_in_its_name_is_the_slide(tmp_path: Path, name: str):
    path = tmp_path / "a.ome.tif"
    pixels = np.broadcast_to(LABEL, (90, 80, 3))
    tifffile.imwrite(path, pixels, photometric="rgb", metadata={"Name": name})
    with open_slide(path) as slide:
        assert slide.size == Size(90, 80)


TILED = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", "metadata": None}


@pytest.mark.parametrize(
    ("size", "more"),
    [
        ((300, 200), {}),
        ((300, 200), {"description": "label image"}),
        ((128, 160), {"description": "label image"}),  # of the slide's proportions
        ((1024, 1280), {}),  # larger than the slide
    ],
)
@pytest.mark.parametrize("kind", ["plain", "aperio"])
def test_openslide_shows_no_label_in_tiles(tmp_path: Path, size, more, kind: str):
    path, aperio = tmp_path / "a.tif", "Aperio Image Library v11.2.1\r\n"
    tissue = np.random.default_rng(0).integers(180, 256, (512, 640, 3), np.uint8)
    if kind == "aperio":
        more = {"description": f"{aperio}{more.get('description', '')} {size[1]}x{size[0]}"}
    with tifffile.TiffWriter(path) as tiff:
        header = {"description": aperio + HEADER} if kind == "aperio" else {}
        tiff.write(tissue, **header, **TILED)
        tiff.write(np.broadcast_to(LABEL, (*size, 3)), subfiletype=1, **more, **TILED)
    with open_slide(path) as slide:
        assert (slide.backend, [level.size for level in slide.levels]) == (
            "tifffile",
            [Size(512, 640)],
        )
    for backend in ("openslide", "fastslide"):
        with pytest.raises(SlideError, match=r"beside the slide, such as a label"):
            open_slide(path, backend=backend)


def test_no_label_is_shown_where_openslide_stands_in(tmp_path: Path):
    tissue = np.random.default_rng(0).integers(180, 256, (512, 640, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(tissue, **TILED | {"photometric": "ycbcr", "subsampling": (1, 1)})
        tiff.write(np.broadcast_to(LABEL, (300, 200, 3)), subfiletype=1, **TILED)
    with pytest.raises(SlideError, match=r"stored as YCBCR.*beside the slide"):
        open_slide(tmp_path / "a.tif")


def test_a_label_in_tiles_is_no_level_of_an_svs(tmp_path: Path):
    aperio = "Aperio Image Library v11.2.1\r\n"
    tissue = np.random.default_rng(0).integers(180, 256, (512, 640, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.svs") as tiff:
        tiff.write(tissue, description=aperio + HEADER, **TILED)
        for _ in range(2):  # in the thumbnail's place, and among the levels
            tiff.write(np.broadcast_to(LABEL, (300, 200, 3)), description=aperio, **TILED)
    with open_slide(tmp_path / "a.svs") as slide:
        assert [level.size for level in slide.levels] == [Size(512, 640)]
