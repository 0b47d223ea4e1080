"""Folders in MIST's layout: pairs without a grade."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import CohortSettings, DataSettings, Labels
from napari_hmkd.training.sources.mist import MIST
from napari_hmkd.training.sources.opening import open_source
from napari_hmkd.training.tiles import TileSource


def open_folder(folder: Path, **settings) -> TileSource:
    return open_source(str(folder), CohortSettings(), DataSettings(mpp=0.5, **settings))


def test_a_is_he_and_b_is_ihc_and_there_is_no_grade(mist_folder) -> None:
    folder = mist_folder(train=3, val=2, test=1)
    source = open_folder(folder)
    assert [tile.part for tile in source.tiles] == ["train"] * 3 + ["validation"] * 2 + ["test"]
    assert {(tile.grade, tile.patient) for tile in source.tiles} == {(None, None)}
    assert (source.tile_px, source.mpp) == (256, 0.5)
    for place, stain in enumerate("AB"):
        with Image.open(folder / f"train{stain}/1.png") as image:
            np.testing.assert_array_equal(source.read(1)[place], np.asarray(image))


def test_names_tell_tiles_apart(mist_folder) -> None:
    names = [tile.name for tile in open_folder(mist_folder(train=2, val=2)).tiles]
    assert len(set(names)) == 4


def test_the_card_says_that_there_are_no_labels(mist_folder) -> None:
    assert "labels: none" in open_folder(mist_folder(train=2)).training_data


def test_the_pixel_size_must_be_stated(mist_folder) -> None:
    with pytest.raises(DataError, match=r"MIST HER2 does not tell its pixel size.*--mpp"):
        open_source(str(mist_folder(train=1)), CohortSettings(), DataSettings())


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_pixel_size_is_refused(mist_folder, mpp: float) -> None:
    with pytest.raises(DataError, match="--mpp must be a number of um/px above 0"):
        open_source(str(mist_folder(train=1)), CohortSettings(), DataSettings(mpp=mpp))


def test_tile_labels_are_refused(mist_folder) -> None:
    with pytest.raises(DataError, match="--labels tile needs procedural data or a manifest"):
        open_folder(mist_folder(train=1), labels=Labels.TILE)


def test_a_file_without_its_partner_is_named(mist_folder) -> None:
    folder = mist_folder(train=2)
    (folder / "trainB/1.png").unlink()
    with pytest.raises(DataError, match=r"trainA.1\.png has no partner .*trainB.1\.png"):
        open_folder(folder)


def test_a_validation_folder_is_read_as_val_is(mist_folder) -> None:
    parts = [tile.part for tile in open_folder(mist_folder(train=1, validation=2)).tiles]
    assert parts == ["train", "validation", "validation"]


def test_pictures_in_places_that_are_not_read_are_problems(mist_folder) -> None:
    folder = mist_folder(train=1, dev=2)
    (folder / "trainA/0.png").rename(folder / "0.png")
    (folder / "trainB/0.png").unlink()
    (folder / "README.md").write_text("about")
    places = [problem.partition(" is, or ")[0] for problem in MIST.scan(folder).problems]
    assert places == [str(folder / name) for name in ("0.png", "devA", "devB")]
    with pytest.raises(
        DataError, match=r"0\.png is, or holds, .* directly in trainA and trainB or"
    ):
        open_folder(folder)
