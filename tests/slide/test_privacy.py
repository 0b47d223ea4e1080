"""A label's picture and a header can carry a patient's name: neither is shown or written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

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


@pytest.mark.parametrize("name", ["label image", "Macro image", "Label", "thumbnail", "overview"])
def test_a_larger_label_of_an_ome_tiff_is_not_taken_for_the_slide(tmp_path: Path, name: str):
    tissue = np.random.default_rng(0).integers(180, 256, (300, 400, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        tiff.write(
            np.broadcast_to(LABEL, (900, 900, 3)), photometric="rgb", metadata={"Name": name}
        )
        tiff.write(tissue, photometric="rgb", metadata={"Name": "Scan 1"})
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert np.array_equal(slide.read_level(0, Region(0, 0, 300, 400)), tissue)
