"""Folders in BCI's layout: what is read from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.errors import DataError
from napari_hmkd.training.bci import BciFolder, grade_in_name


@pytest.mark.parametrize(
    ("name", "grade"),
    [("00012_train_2+.png", 2), ("00118_test_0.png", 0), ("a b_1+.JPG", 1), ("ü_3+.png", 3)],
)
def test_the_grade_is_the_end_of_the_name(name: str, grade: int) -> None:
    assert grade_in_name(name) == grade


@pytest.mark.parametrize("name", ["00012_train_4+.png", "00012_train_2.png", "2+.png", "x_2+"])
def test_a_name_without_a_grade_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="no HER2 grade in the file name"):
        grade_in_name(name)


def test_the_real_pairs_are_read(shared_data: Path) -> None:
    source = BciFolder(shared_data / "bci_pairs")
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
    source = BciFolder(bci_folder(train=2, test=1))
    assert [tile.part for tile in source.tiles].count("train") == 8
    assert [tile.part for tile in source.tiles].count("test") == 4
    assert source.tiles[0].name == "train/00000_train_0.png"
    assert source.read(0).shape == (2, 256, 256, 3)


def test_one_part_can_be_asked_for(bci_folder) -> None:
    source = BciFolder(bci_folder(train=2, test=1), parts=("test",))
    assert {tile.part for tile in source.tiles} == {"test"}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tiles in"):
        BciFolder(tmp_path)


def test_a_file_without_its_partner_is_named(bci_folder) -> None:
    folder = bci_folder()
    (folder / "IHC/train/00003_train_3+.png").unlink()
    with pytest.raises(DataError, match=r"1 files .* lack their partner.*00003_train_3\+\.png"):
        BciFolder(folder)


@pytest.mark.parametrize("shape", [(512, 512), (256, 512), (100, 100)])
def test_another_size_is_refused_with_the_file_s_name(bci_folder, shape: tuple[int, int]) -> None:
    folder = bci_folder()
    Image.new("RGB", shape).save(folder / "HE/train/00003_train_3+.png", format="JPEG")
    with pytest.raises(DataError, match=r"00003_train_3\+\.png is .* px \(height x width\)"):
        BciFolder(folder)


def test_a_side_that_is_no_multiple_of_256_is_refused(bci_folder) -> None:
    with pytest.raises(DataError, match="multiple of 256"):
        BciFolder(bci_folder(side=300))


def test_a_file_that_is_no_image_is_named(bci_folder) -> None:
    folder = bci_folder()
    (folder / "HE/train/00003_train_3+.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"00003_train_3\+\.png cannot be read"):
        BciFolder(folder)


def test_a_cut_image_is_named_when_it_is_read(bci_folder) -> None:
    folder = bci_folder()
    path = folder / "HE/train/00003_train_3+.png"
    path.write_bytes(path.read_bytes()[:-200])
    source = BciFolder(folder)
    with pytest.raises(DataError, match=r"00003_train_3\+\.png cannot be decoded"):
        source.read(3)
