"""Folders in BCI's layout: what is read from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import CohortSettings, DataSettings
from napari_hmkd.training.sources.bci import BCI, grade_in_name
from napari_hmkd.training.sources.opening import open_source
from napari_hmkd.training.tiles import TileSource


def open_folder(folder: Path) -> TileSource:
    return open_source(str(folder), CohortSettings(), DataSettings())


@pytest.mark.parametrize(
    ("name", "grade"),
    [("00012_train_2+.png", 2), ("00118_test_0.png", 0), ("a b_1+.JPG", 1), ("ü_3+.jp2", 3)],
)
def test_the_grade_is_the_end_of_the_name(name: str, grade: int) -> None:
    assert grade_in_name(name) == grade


@pytest.mark.parametrize("name", ["00012_train_4+.png", "00012_train_2.png", "2+.png", "x_2+"])
def test_a_name_without_a_grade_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="no HER2 grade in the file name"):
        grade_in_name(name)


def test_the_real_pairs_are_read(shared_data: Path) -> None:
    source = open_folder(shared_data / "bci_pairs")
    assert [tile.grade for tile in source.tiles] == [1, 3, 0, 2]
    assert {tile.part for tile in source.tiles} == {"test"}
    assert all(tile.patient is None for tile in source.tiles)
    assert (source.tile_px, source.mpp) == (1024, 0.46)
    pair = source.read(1)
    assert pair.shape == (2, 1024, 1024, 3)
    assert pair.dtype == np.uint8
    with Image.open(shared_data / "bci_pairs/IHC/test/00011_test_3+.png") as image:
        np.testing.assert_array_equal(pair[1], np.asarray(image.convert("RGB")))


def test_both_parts_are_found_in_a_folder_with_spaces_and_umlauts(bci_folder) -> None:
    source = open_folder(bci_folder(train=2, test=1))
    assert [tile.part for tile in source.tiles].count("train") == 8
    assert [tile.part for tile in source.tiles].count("test") == 4
    assert source.tiles[0].name == "train/00000_train_0.png"
    assert source.read(0).shape == (2, 256, 256, 3)


def test_both_files_of_a_pair_have_a_name(bci_folder) -> None:
    folder = bci_folder(train=1, test=0)
    name = "train/00002_train_2+.png"
    assert open_folder(folder).names(2) == (f"{folder / 'HE' / name}", f"{folder / 'IHC' / name}")


@pytest.mark.parametrize("name", ["val", "validation"])
def test_a_val_folder_is_the_validation_part(bci_folder, name: str) -> None:
    folder = bci_folder()
    for stain in ("HE", "IHC"):
        (folder / stain / "test").rename(folder / stain / name)
    assert {tile.part for tile in open_folder(folder).tiles} == {"train", "validation"}


def test_the_stated_pixel_size_goes_before_bci_s(bci_folder) -> None:
    settings = DataSettings(mpp=0.25)
    assert open_source(str(bci_folder()), CohortSettings(), settings).mpp == 0.25


def test_what_file_managers_leave_is_no_tile(bci_folder) -> None:
    folder = bci_folder(train=1, test=0)
    for place in ("HE", "HE/train"):
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
            (folder / place / name).write_bytes(b"")
    for name in ("HE/._x.png", "HE/.trash/x.png", "IHC/train/.checkpoints/x.png", "HE/notes/a.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    assert len(open_folder(folder).tiles) == 4


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    for stain in ("HE", "IHC"):
        (tmp_path / stain / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no tiles in .* HE/train and IHC/train or HE/val"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("there", "missing"), [("HE", "IHC"), ("IHC", "HE")], ids=["no IHC", "no H&E"]
)
def test_a_file_without_its_partner_is_named(bci_folder, there: str, missing: str) -> None:
    folder = bci_folder()
    (folder / missing / "train/00003_train_3+.png").unlink()
    with pytest.raises(DataError) as caught:
        open_folder(folder)
    here, partner = (folder / stain / "train/00003_train_3+.png" for stain in (there, missing))
    assert str(caught.value).startswith(f"{here} has no partner {partner}")


@pytest.mark.parametrize("suffix", [".PNG", ".jpg"])
def test_a_partner_may_have_another_suffix(bci_folder, suffix: str) -> None:
    folder = bci_folder()
    before = open_folder(folder)
    pair = before.read(2)
    for path in (folder / "IHC/train").iterdir():
        path.rename(path.with_suffix(suffix))
    source = open_folder(folder)
    assert source.tiles == before.tiles
    assert source.names(2)[1] == str(folder / f"IHC/train/00002_train_2+{suffix}")
    np.testing.assert_array_equal(source.read(2), pair)


@pytest.mark.parametrize("stains", [("HE", "IHC"), ("HE",), ("IHC",)])
def test_a_pair_saved_again_with_another_suffix_is_no_second_pair(bci_folder, stains) -> None:
    folder = bci_folder(train=1, test=0)
    for stain in stains:
        path = folder / stain / "train/00002_train_2+.png"
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"))
    scan = BCI.scan(folder)
    train = folder / stains[0] / "train"
    assert scan.problems[0] == (
        f"{train / '00002_train_2+.jpg'} and {train / '00002_train_2+.png'} have one name, as copies "
        "have: keep one of them"
    )
    assert len(scan.problems) == len(stains)
    assert [pair.tile.grade for pair in scan.pairs] == [0, 1, 3]


def test_what_is_no_picture_is_neither_a_copy_nor_a_partner(bci_folder) -> None:
    folder = bci_folder(train=1, test=0)
    notes = folder / "HE/train/00002_train_2+.json"
    notes.write_text("{}")
    (folder / "IHC/train/00003_train_3+.png").rename(folder / "IHC/train/00003_train_3+.json")
    scan = BCI.scan(folder)
    assert [pair.tile.grade for pair in scan.pairs] == [0, 1, 2]
    assert any(f"{notes} has no partner" in problem for problem in scan.problems)
    assert any("00003_train_3+.png has no partner" in problem for problem in scan.problems)


@pytest.mark.parametrize(
    ("picture", "named"),
    [
        ("HE/dev/00009_dev_0.png", "HE/dev"),
        ("IHC/dev/slide 1/00009_dev_0.JPG", "IHC/dev"),
        ("HE/00009_train_0.tif", "HE/00009_train_0.tif"),
        ("HE/train/2+/00009_train_2+.png", "HE/train/2+"),
    ],
)
def test_a_picture_in_a_place_that_is_not_read_is_a_problem(bci_folder, picture, named) -> None:
    folder = bci_folder()
    (folder / picture).parent.mkdir(parents=True, exist_ok=True)
    (folder / "HE/test/00000_test_0.png").rename(folder / picture)
    (folder / "IHC/test/00000_test_0.png").unlink()
    with pytest.raises(DataError) as caught:
        open_folder(folder)
    assert str(caught.value).startswith(
        f"{folder / named} is, or holds, a picture that is not read"
    )


def test_every_place_that_is_not_read_is_named(bci_folder) -> None:
    folder = bci_folder()
    for stain in ("HE", "IHC"):
        (folder / stain / "train").rename(folder / stain / "Training")
    (folder / "HE/test/00000_test_0.png").rename(folder / "HE/x.png")
    (folder / "IHC/test/00000_test_0.png").unlink()
    scan = BCI.scan(folder)
    assert [problem.partition(" is, or ")[0] for problem in scan.problems] == [
        str(folder / name) for name in ("HE/Training", "HE/x.png", "IHC/Training")
    ]
    assert len(scan.pairs) == 3


def test_further_problems_are_counted(bci_folder) -> None:
    folder = bci_folder()
    for name in ("00003_train_3+.png", "00004_train_0.png", "00005_train_1+.png"):
        (folder / "IHC/train" / name).unlink()
    with pytest.raises(DataError, match="2 more problems: list all with check-data"):
        open_folder(folder)


def test_a_name_without_a_grade_is_named_with_its_folder(bci_folder) -> None:
    folder = bci_folder()
    for stain in ("HE", "IHC"):
        (folder / stain / "train/00003_train_3+.png").rename(folder / stain / "train/x.png")
    with pytest.raises(DataError, match=r"HE.train.x\.png: no HER2 grade in the file name x\.png"):
        open_folder(folder)


@pytest.mark.parametrize("name", ["00000_train_0.png", "00003_train_3+.png"])
@pytest.mark.parametrize("shape", [(512, 512), (256, 512), (100, 100)])
def test_another_size_than_most_is_refused_with_the_file_s_name(
    bci_folder, shape: tuple[int, int], name: str
) -> None:
    folder = bci_folder()
    Image.new("RGB", shape).save(folder / "HE/train" / name, format="JPEG")
    with pytest.raises(DataError) as caught:
        open_folder(folder)
    assert str(caught.value).startswith(
        f"{folder / 'HE/train' / name} is {shape[1]} x {shape[0]} px (height x width): all tiles "
        "must be squares of one size (here 256 x 256)"
    )


def test_a_side_that_is_no_multiple_of_256_is_refused(bci_folder) -> None:
    with pytest.raises(DataError, match="multiple of 256"):
        open_folder(bci_folder(side=300))


def test_a_file_that_is_no_image_is_named(bci_folder) -> None:
    folder = bci_folder()
    (folder / "HE/train/00003_train_3+.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"00003_train_3\+\.png cannot be read"):
        open_folder(folder)


def test_a_cut_image_is_named_when_it_is_read(bci_folder) -> None:
    folder = bci_folder()
    path = folder / "HE/train/00003_train_3+.png"
    path.write_bytes(path.read_bytes()[:-200])
    source = open_folder(folder)
    with pytest.raises(DataError, match=r"00003_train_3\+\.png cannot be decoded"):
        source.read(3)
