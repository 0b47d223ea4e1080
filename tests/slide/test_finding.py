"""Which slides a folder stands for: none is lost without a word, and none is there twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest

from napari_hmkd.errors import SlideError
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.finding import find_slides

DICOM = "slides/cmu-1-small-region-dicom"


@pytest.fixture
def found(tmp_path: Path) -> Callable[[], list[str]]:
    """What is found in the test's folder, by names within it."""
    return lambda: [str(Path(one).relative_to(tmp_path)) for one in find_slides([str(tmp_path)])]


@pytest.fixture
def slide(tmp_path: Path, write_pyramid, noise) -> Path:
    """One that stands beside others."""
    path = tmp_path / "z.tif"
    write_pyramid(path, noise(64, 64))
    return path


def copy_dicom(shared_data: Path, folder: Path, names: str = "{}.dcm") -> list[str]:
    """A DICOM slide of several files, called after their number."""
    folder.mkdir(exist_ok=True)
    instances = sorted((shared_data / DICOM).glob("*.dcm"))
    copies = [folder / names.format(number) for number in range(len(instances))]
    for instance, copy in zip(instances, copies, strict=True):
        shutil.copyfile(instance, copy)
    return [copy.name for copy in copies]


@pytest.mark.parametrize("names", ["{}.dcm", "IM000{}", "1.2.826.0.1.{}", "{}.DICOM"])
def test_a_dicom_folder_is_one_slide_however_its_files_are_called(
    shared_data: Path, tmp_path: Path, found, slide: Path, names: str
) -> None:
    copy_dicom(shared_data, tmp_path / "case1", names)
    assert found() == ["case1", "z.tif"]
    assert find_slides([str(tmp_path / "case1")]) == [str(tmp_path / "case1")]
    with open_slide(tmp_path / "case1") as opened:
        assert opened.vendor == "dicom"


def test_a_dicom_slide_beside_others_is_one_of_them(
    shared_data: Path, tmp_path: Path, found, slide: Path
) -> None:
    first, *_ = copy_dicom(shared_data, tmp_path)
    assert found() == [first, "z.tif"]


def test_the_files_of_a_dicom_slide_are_one_slide_where_each_is_named(
    shared_data: Path, tmp_path: Path, slide: Path, caplog
) -> None:
    """As a shell does it with a star."""
    first, *others = copy_dicom(shared_data, tmp_path)
    given = [str(tmp_path / name) for name in (first, slide.name, *others)]
    assert find_slides(given) == given[:2]
    for name in others:
        assert f"{name}' is a part of the slide '{first}'" in caplog.text


def test_several_dicom_slides_of_a_folder_are_each_found(
    shared_data: Path, tmp_path: Path, found
) -> None:
    first, *_ = copy_dicom(shared_data, tmp_path, "a{}.dcm")
    with openslide.OpenSlide(tmp_path / first) as opened:
        series = opened.properties["dicom.SeriesInstanceUID"].encode()
    for name in copy_dicom(shared_data, tmp_path, "b{}.dcm"):
        other = series[:-1] + bytes([series[-1] ^ 1])
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(series, other))
    assert found() == ["a0.dcm", "b0.dcm"]


def test_dicom_that_cannot_be_opened_is_found_and_hides_no_other(
    shared_data: Path, tmp_path: Path, found, slide: Path
) -> None:
    """The label alone, as when the rest was not copied."""
    names = copy_dicom(shared_data, tmp_path)
    smallest = min(names, key=lambda name: (tmp_path / name).stat().st_size)
    for name in set(names) - {smallest}:
        (tmp_path / name).unlink()
    assert found() == [smallest, "z.tif"]
    with pytest.raises(SlideError, match="No pyramid levels"):
        open_slide(tmp_path / smallest)


def test_a_store_whose_copy_was_cut_off_is_found_and_says_so(
    tmp_path: Path, found, slide: Path
) -> None:
    (tmp_path / "a.ome.zarr" / "0").mkdir(parents=True)
    assert found() == ["a.ome.zarr", "z.tif"]
    with pytest.raises(SlideError, match=r"has no metadata .* not copied whole"):
        open_slide(tmp_path / "a.ome.zarr")


def test_an_ome_tiff_of_several_files_is_one_slide(
    tmp_path: Path, found, slide: Path, write_channel_files, noise, caplog
) -> None:
    write_channel_files(tmp_path, noise(64, 64))
    assert found() == ["m0.ome.tif", "z.tif"]
    for part in ("m1.ome.tif", "m2.ome.tif"):
        assert f"{part}' is a part of the slide 'm0.ome.tif'" in caplog.text
    given = [str(tmp_path / f"m{number}.ome.tif") for number in range(3)]
    assert find_slides(given) == given[:1]


def test_a_slide_under_the_name_of_a_part_is_a_slide(
    tmp_path: Path, found, write_channel_files, noise
) -> None:
    """A file that was copied and renamed names others that are not its parts."""
    write_channel_files(tmp_path, noise(64, 64))
    part = tmp_path / "m2.ome.tif"
    part.write_bytes(part.read_bytes().replace(b'OME UUID="urn:uuid:0', b'OME UUID="urn:uuid:9'))
    assert found() == ["m0.ome.tif", "m2.ome.tif"]


def test_what_is_left_out_is_told(tmp_path: Path, found, slide: Path, caplog) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b.mrxs").touch()
    assert found() == ["b.mrxs", "z.tif"]
    assert caplog.messages == [f"left out of the slides in '{tmp_path}': 'more', 'notes.txt'"]


def test_what_lies_beside_the_dicom_of_a_subfolder_is_told(
    shared_data: Path, tmp_path: Path, found, slide: Path, caplog
) -> None:
    copy_dicom(shared_data, tmp_path / "case1")
    (tmp_path / "case1" / "report.pdf").touch()
    (tmp_path / "case1" / "again").symlink_to(tmp_path / "case1")
    shutil.copyfile(slide, tmp_path / "case1" / "ihc.tif")
    assert found() == ["case1", "z.tif"]
    assert caplog.messages == [f"left out of the slides in '{tmp_path / 'case1'}': 'ihc.tif'"]


def test_nothing_is_told_where_nothing_is_left_out(
    shared_data: Path, tmp_path: Path, found, slide: Path, write_zarr, caplog
) -> None:
    copy_dicom(shared_data, tmp_path / "case1")
    write_zarr(tmp_path / "d.zarr", [np.zeros((64, 64, 3), np.uint8)])
    assert found() == ["case1", "d.zarr", "z.tif"]
    assert not caplog.messages
