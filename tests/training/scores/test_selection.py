"""Which tiles are scored: none that a model has seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.scores.selection import ChosenTiles, select_tiles
from napari_hmkd.training.tiles import Tile


def run_with_split(folder: Path, *rows: str) -> Path:
    """The weights of a run whose split.csv holds these lines."""
    folder.mkdir(parents=True)
    text = "\n".join(("tile,patient,grade,split", *rows)) + "\n"
    (folder / "split.csv").write_text(text, encoding="utf-8")
    return folder / "student.safetensors"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    rows = ("a,P1,0,train", "b,P2,1,validation", "c,P3,2,calibration", "d,P4,3,test")
    return run_with_split(tmp_path / "Lauf ä", *rows)


TILES = [Tile(name, 0, f"P{number}") for number, name in enumerate("abcd", 1)]


@pytest.mark.parametrize(
    ("part", "index"), [("train", 0), ("validation", 1), ("calibration", 2), ("test", 3)]
)
def test_tiles_that_a_run_lists_are_in_its_parts(weights: Path, part: str, index: int) -> None:
    found = select_tiles(TILES, [weights], part)
    assert found.indices.tolist() == [index]
    assert found.checked
    assert sum(found.left_out.values()) == 3
    assert part not in found.left_out


def test_unknown_patients_are_test_patients_and_other_tiles_of_known_ones_are_not(weights) -> None:
    tiles = [Tile("new", 0, "P9"), Tile("other tile", 0, "P1"), Tile("another", 0, "P4")]
    assert select_tiles(tiles, [weights], "test").indices.tolist() == [0, 2]


def test_a_tile_must_be_unseen_by_every_model(weights: Path, tmp_path: Path) -> None:
    second = run_with_split(tmp_path / "second", "d,P4,3,train", "e,P5,3,test")
    tiles = [*TILES, Tile("e", 0, "P5")]
    found = select_tiles(tiles, [weights, second], "test")
    assert found.indices.tolist() == [4]


def test_the_data_s_own_parts_hold_where_no_run_lists_the_tile(weights: Path) -> None:
    tiles = [Tile("x", 0, part="train"), Tile("y", 0, part="test"), Tile("d", 0, part="train")]
    assert select_tiles(tiles, [weights], "test").indices.tolist() == [1, 2]
    assert select_tiles(tiles, [weights], "train").indices.tolist() == [0]


def test_without_a_split_beside_the_weights_nothing_is_checked(tmp_path: Path) -> None:
    found = select_tiles(TILES, [tmp_path / "demo.safetensors"], "test")
    assert found.indices.tolist() == [0, 1, 2, 3]
    assert not found.checked


def test_a_patient_on_both_sides_counts_as_used(tmp_path: Path) -> None:
    weights = run_with_split(tmp_path / "leak", "a,P1,0,test", "b,P1,0,train")
    tiles = [Tile("a", 0, "P1"), Tile("z", 0, "P2")]
    assert select_tiles(tiles, [weights], "test").indices.tolist() == [1]


def test_nothing_left_is_refused_with_advice(weights: Path) -> None:
    with pytest.raises(DataError, match=r"were used to train.*1 train, .*--cohort-seed"):
        select_tiles(TILES[:3], [weights], "test")
    with pytest.raises(DataError, match=r"none of the 1 tiles is in the train part.*1 test"):
        select_tiles(TILES[3:], [weights], "train")


@pytest.mark.parametrize("row", ["a,P1,0,somewhere", "a,P1", ",P1,0,test"])
def test_a_spoiled_split_is_named_with_its_line(tmp_path: Path, row: str) -> None:
    weights = run_with_split(tmp_path / "run", "b,P2,0,train", row)
    with pytest.raises(DataError, match=r"split\.csv, line 3"):
        select_tiles(TILES, [weights], "test")


def test_chosen_tiles_are_a_source_of_those_alone(random_source) -> None:
    chosen = ChosenTiles(random_source, np.array([4, 1]))
    assert [tile.name for tile in chosen.tiles] == ["1-1", "0-1"]
    np.testing.assert_array_equal(chosen.read(0), random_source.pairs[4])
    assert chosen.identity != ChosenTiles(random_source, np.array([4, 2])).identity
    assert (chosen.tile_px, chosen.mpp) == (random_source.tile_px, random_source.mpp)
