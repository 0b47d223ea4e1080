"""Which slides a folder stands for: none is lost without a word, and none is there twice."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Region, Size
from napari_hmkd.slide import finding, open_slide
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


def write_image_files(folder: Path, images: dict[str, np.ndarray]) -> None:
    """A file for each image, a name being its title; each header lists all, as of `bfconvert out_%s.ome.tif`."""
    uuids = {name: f"urn:uuid:{number:08}-0000" for number, name in enumerate(images)}
    listed = "".join(
        f'<Image ID="Image:{name}" Name="{name}"><Pixels ID="Pixels:{name}" DimensionOrder="XYCZT" '
        f'Type="uint8" SizeX="{pixels.shape[1]}" SizeY="{pixels.shape[0]}" SizeC="3" SizeZ="1" SizeT="1">'
        f'<Channel ID="Channel:{name}" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}.ome.tif">{uuids[name]}</UUID></TiffData></Pixels></Image>'
        for name, pixels in images.items()
    )
    for name, pixels in images.items():
        header = (
            f'<?xml version="1.0"?><OME UUID="{uuids[name]}" '
            f'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{listed}</OME>'
        )
        tifffile.imwrite(
            folder / f"{name}.ome.tif", pixels, photometric="rgb", description=header, metadata=None
        )


def test_files_that_list_each_other_are_slides_each_of_its_own_image(
    tmp_path: Path, found, noise
) -> None:
    images = {"a": noise(64, 64, seed=1), "b": noise(96, 80, seed=2)}
    write_image_files(tmp_path, images)
    assert found() == ["a.ome.tif", "b.ome.tif"]
    for name, pixels in images.items():
        with open_slide(tmp_path / f"{name}.ome.tif") as opened:
            assert not opened.warnings  # the other image is another slide
            assert opened.size == Size(*pixels.shape[:2])
            place = Region(0, 0, *pixels.shape[:2])
            assert np.array_equal(opened.read_level(0, place), pixels)


def test_a_label_in_a_file_of_its_own_does_not_stand_for_the_slide_that_it_lists(
    tmp_path: Path, noise
) -> None:
    write_image_files(tmp_path, {"label": noise(64, 64), "scan": noise(96, 80)})
    with pytest.raises(SlideError, match="only what is called a label"):
        open_slide(tmp_path / "label.ome.tif")


def replace_in_headers(folder: Path, old: str, new: str) -> None:
    for file in folder.iterdir():
        with tifffile.TiffFile(file, mode="r+") as tiff:
            header = tiff.pages[0].description.replace(old, new)
            tiff.pages[0].tags["ImageDescription"].overwrite(header)


@pytest.mark.parametrize("folder", ["parts/", "/data/parts/", "C:\\parts\\"])
def test_a_part_that_is_named_in_the_folder_of_its_writer_is_looked_for_beside(
    tmp_path: Path, found, write_channel_files, noise, folder: str
) -> None:
    write_channel_files(tmp_path, noise(64, 64))
    replace_in_headers(tmp_path, '="m', f'="{folder}m')
    assert found() == ["m0.ome.tif"]


@pytest.mark.parametrize("name", ["", "parts/", "..", "."])
def test_a_name_that_names_no_file_hides_no_slide(
    tmp_path: Path, found, write_channel_files, noise, name: str
) -> None:
    write_channel_files(tmp_path, noise(64, 64))
    replace_in_headers(tmp_path, "m1.ome.tif", name)
    assert found() == ["m0.ome.tif", "m1.ome.tif"]


def test_what_is_left_out_is_told(tmp_path: Path, found, slide: Path, caplog) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b.mrxs").touch()
    assert found() == ["b.mrxs", "z.tif"]
    assert caplog.messages == [f"left out of the slides in '{tmp_path}': 'more', 'notes.txt'"]


def test_a_file_whose_name_takes_no_more_letters_hides_no_slide(
    tmp_path: Path, found, slide: Path
) -> None:
    (tmp_path / ("n" * 255)).touch()
    assert found() == ["z.tif"]


def test_a_folder_that_may_not_be_read_is_told_with_the_reason_and_hides_no_slide(
    tmp_path: Path, found, slide: Path, closed_folder: Path, caplog
) -> None:
    """As the `lost+found` of every Linux disk."""
    (tmp_path / "notes.txt").touch()
    assert found() == ["z.tif"]
    assert caplog.messages == [
        f"left out of the slides in '{tmp_path}': 'closed' (Permission denied), 'notes.txt'"
    ]


def test_a_folder_that_may_not_be_read_hides_no_dicom_around_it(
    shared_data: Path, tmp_path: Path, found, slide: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    case, private = tmp_path / "case1", tmp_path / "case1" / "private"
    copy_dicom(shared_data, case)
    private.mkdir()

    def look(folder: Path) -> bool:
        if folder == private:
            raise PermissionError(errno.EACCES, "Permission denied")
        return False

    monkeypatch.setattr(finding, "is_zarr", look)
    assert found() == ["case1", "z.tif"]
    assert find_slides([str(case)]) == [str(case)]
    told = f"left out of the slides in '{case}': 'private' (Permission denied)"
    assert caplog.messages == [told] * 2


def test_what_lies_beside_the_dicom_of_a_subfolder_is_told(
    shared_data: Path, tmp_path: Path, found, slide: Path, link, caplog
) -> None:
    copy_dicom(shared_data, tmp_path / "case1")
    (tmp_path / "case1" / "report.pdf").touch()
    link(tmp_path / "case1" / "again", tmp_path / "case1")
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
