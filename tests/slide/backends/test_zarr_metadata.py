"""Which image of an OME-Zarr store is the slide, and what is refused in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Size
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe

NAME = "Erika Mustermann"
OME_XML = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'


def change(path: Path, alter: Callable[[dict[str, Any]], None]) -> None:
    """Alter the OME-Zarr attributes of a group."""
    group = zarr.open_group(path, mode="r+")
    attributes = group.attrs.asdict()
    alter(attributes.get("ome", attributes))
    group.attrs.put(attributes)


@pytest.fixture
def write(write_zarr, noise) -> Callable[..., Path]:
    """Write a store of one image, and alter its entry in `multiscales`."""

    def write(path: Path, version: str = "0.5", side: int = 40, **entry: object) -> Path:
        write_zarr(path, [noise(side, side)], version)
        change(path, lambda ome: ome["multiscales"][0].update(entry))
        return path

    return write


@pytest.fixture
def write_lot(write, tmp_path: Path) -> Callable[..., Path]:
    """Write a store as bioformats2raw does: a group for each image, {its name: its side}."""

    def write_lot(images: dict[str, int], version: str = "0.5", names_in: str = "group") -> Path:
        path = tmp_path / "Präparat.zarr"
        layout: dict[str, Any] = {"bioformats2raw.layout": 3}
        if version == "0.5":
            layout = {"ome": {"version": version, **layout}}
        root = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
        root.attrs.put(layout)
        root.create_group("OME")
        for index, (name, side) in enumerate(images.items()):
            write(path / str(index), version, side, name=name if names_in == "group" else "")
        if names_in == "xml":
            lines = "".join(f'<Image ID="Image:0" Name="{name}"/>' for name in images)
            (path / "OME/METADATA.ome.xml").write_text(OME_XML.format(lines), encoding="utf-8")
        return path

    return write_lot


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("names_in", ["group", "xml"])
@pytest.mark.parametrize(
    ("images", "taken"),
    [
        ({"macro image": 30, "scan": 50}, "1"),
        ({"label image": 90, "Macro": 80, "scan": 50}, "2"),
        ({"scan 1": 30, "scan 2": 50, "scan 3": 40}, "1"),
        ({"": 50, "overview": 60}, "0"),
        ({"Overview of the tumour": 50}, "0"),
    ],
)
def test_the_largest_image_that_is_no_label_is_the_slide(
    write_lot, version: str, names_in: str, images: dict[str, int], taken: str
):
    with open_slide(write_lot(images, version, names_in)) as slide:
        side = list(images.values())[int(taken)]
        assert slide.size == Size(side, side)
        assert slide.properties["ome-zarr.image"] == taken


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"scan 1": 30, "label": 60, "scan 2": 50, "scan 3": 40}, ["holds 3 images .* number 2"]),
        ({"scan": 50, "macro": 60}, []),
    ],
)
def test_further_images_of_a_store_are_told_of(write_lot, images: dict[str, int], said: list[str]):
    with open_slide(write_lot(images)) as slide:
        assert len(slide.warnings) == len(said)
        for words, warning in zip(said, slide.warnings, strict=True):
            assert re.search(words, warning)
            assert warning in describe(slide)["warnings"]


def test_a_store_on_a_server_is_searched_for_its_slide_too(write_lot, serve, tmp_path: Path):
    write_lot({"label": 90, "macro": 80, "scan": 50}, names_in="xml")
    with serve(tmp_path) as server, open_slide(f"{server.url}/Präparat.zarr") as slide:
        assert slide.size == Size(50, 50)


def test_the_groups_that_a_store_lists_are_its_images(write_lot):
    path = write_lot({"scan": 30})
    (path / "0").rename(path / "A")
    change(path / "OME", lambda ome: ome.update(series=["A"]))
    with open_slide(path) as slide:
        assert slide.properties["ome-zarr.image"] == "A"


@pytest.mark.parametrize("names_in", ["group", "xml"])
@pytest.mark.parametrize("images", [[f"label {NAME}"], [f"label {NAME}", f"macro {NAME}"]])
def test_a_store_of_labels_only_is_refused_without_their_names(write_lot, names_in: str, images):
    with pytest.raises(SlideError, match="no slide's image") as refused:
        open_slide(write_lot(dict.fromkeys(images, 50), names_in=names_in))
    assert NAME not in str(refused.value)


def test_an_image_that_is_called_a_label_is_refused(write, tmp_path: Path):
    with pytest.raises(SlideError, match="no slide's image"):
        open_slide(write(tmp_path / "a.zarr", name="Label Image"))


def test_names_that_cannot_be_read_are_no_names(write_lot):
    path = write_lot({"macro": 50, "scan": 30})
    (path / "OME/METADATA.ome.xml").write_bytes(b"<OME><Image")
    with open_slide(path) as slide:
        assert slide.size == Size(30, 30)


@pytest.mark.parametrize(
    ("unit", "mpp"),
    [
        ("micron", 0.5),
        ("\u00b5m", 0.5),
        ("\u03bcm", 0.5),
        ("um", 0.5),
        ("Micrometers", 0.5),
        ("mm", 500.0),
        ("second", None),
    ],
)
def test_usual_spellings_of_units(tmp_path: Path, write_zarr, noise, unit: str, mpp: float | None):
    write_zarr(tmp_path / "a.zarr", [noise(40, 40)], unit=unit)
    with open_slide(tmp_path / "a.zarr") as slide:
        stated = [one.mpp for one in slide.reader.backend.pixel_sizes]
    assert stated == ([] if mpp is None else [pytest.approx((mpp, mpp))])


@pytest.mark.parametrize(
    ("version", "entry", "found"),
    [
        ("0.4", {"version": "0.3", "axes": ["c", "y", "x"]}, r"OME-Zarr 0\.3"),
        ("0.4", {"version": "0.1", "axes": None}, r"OME-Zarr 0\.1"),
        ("0.5", {"datasets": [{"path": "0"}]}, "coordinateTransformations: Field required"),
        (
            "0.5",
            {"axes": [{"name": name, "type": "space"} for name in "yx"] + [{"name": "c"}]},
            "axes",
        ),
    ],
)
def test_unusable_metadata_are_refused_in_plain_words(
    write, tmp_path: Path, version: str, entry: dict[str, Any], found: str
):
    path = write(tmp_path / "a.zarr", version)
    change(path, lambda ome: ome["multiscales"][0].update(entry))
    with pytest.raises(SlideError, match=found) as refused:
        open_slide(path)
    assert "axes c, y, x in this order" in str(refused.value)
    assert "http" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("later", ["0.6", "0.6.dev4"])
def test_a_later_version_is_named(write, tmp_path: Path, later: str):
    """It has its axes elsewhere, and its version where 0.5 has it."""
    path = write(tmp_path / "a.zarr", "0.5")

    def change_version(ome: dict[str, Any]) -> None:
        ome["version"] = later
        image = ome["multiscales"][0]
        image["coordinateSystems"] = [{"name": "intrinsic", "axes": image.pop("axes")}]

    change(path, change_version)
    with pytest.raises(SlideError, match=rf"is OME-Zarr {re.escape(later)}, which is not read"):
        open_slide(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("labels", "colours", "problem"),
    [
        (["DAPI", "FITC", "Cy3"], ["", "", ""], "DAPI, FITC, Cy3"),
        (["Cy3", "Cy5", "Cy7"], ["FF0000", "00FF00", "0000FF"], "Cy3, Cy5, Cy7"),
        (["", "", ""], ["0000ff", "00ff00", "ff0000"], "0000FF"),
        (["Red", "Green", "Blue"], ["ff0000", "00ff00", "0000ff"], None),
        (["Brightfield R", "Brightfield G", "Brightfield B"], ["FFFFFF"] * 3, None),
        (["Channel 0", "Channel 1", "Channel 2"], ["FF0000", "00FF00", "0000FF"], None),
        (["ch1", "ch2", "ch3"], ["", "", ""], None),
        (["TL Brightfield"] * 3, ["808080"] * 3, None),
        ([None] * 3, [None] * 3, None),
    ],
)
def test_three_channels_that_are_no_colours_are_refused(
    write, tmp_path: Path, version: str, labels: list[str], colours: list[str], problem: str | None
):
    path = write(tmp_path / "a.zarr", version)
    pairs = zip(labels, colours, strict=True)
    channels = [{"label": label, "color": colour} for label, colour in pairs]
    change(path, lambda ome: ome.update(omero={"channels": channels}))
    if problem:
        with pytest.raises(SlideError, match=problem):
            open_slide(path)
    else:
        with open_slide(path) as slide:
            assert slide.size == Size(40, 40)
