"""Which tiles are scored: none that a model has seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.scores.selection import ChosenTiles, select_tiles
from napari_hmkd.training.sources.images import pixel_digest
from napari_hmkd.training.tiles import Tile


class Named:
    """Tiles without pictures to compare."""

    renders = True

    def __init__(self, tiles: list[Tile]) -> None:
        self.tiles = tiles


def run_with_split(folder: Path, *rows: str) -> Path:
    """The weights of a run whose split.csv holds these lines, of tiles without pictures."""
    folder.mkdir(parents=True)
    header = "tile,patient,grade,split,he_digest,ihc_digest"
    text = "\n".join((header, *(f"{row},," for row in rows))) + "\n"
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
    found = select_tiles(Named(TILES), [weights], part)
    assert found.indices.tolist() == [index]
    assert found.checked
    assert sum(found.left_out.values()) == 3
    assert part not in found.left_out


def test_unknown_patients_are_test_patients_and_other_tiles_of_known_ones_are_not(weights) -> None:
    tiles = [Tile("new", 0, "P9"), Tile("other tile", 0, "P1"), Tile("another", 0, "P4")]
    assert select_tiles(Named(tiles), [weights], "test").indices.tolist() == [0, 2]


@pytest.mark.parametrize("written", ["p1", "1", "A\u0308"])
def test_a_patient_is_known_however_another_table_writes_the_name(
    tmp_path: Path, written: str
) -> None:
    rows = ("a,P1,0,train", "b,1.0,1,train", "c,\u00c4,1,train")
    weights = run_with_split(tmp_path / "run", *rows)
    tiles = [Tile("new", 0, written), Tile("other", 0, "P10")]
    assert select_tiles(Named(tiles), [weights], "test").indices.tolist() == [1]


@pytest.mark.parametrize(
    ("row", "known"), [("b,,1,train", False), ("b,,1,test", True), ("b,P7,1,train", True)]
)
def test_tiles_without_a_patient_that_a_model_was_fitted_to_are_told(
    tmp_path: Path, row: str, known: bool
) -> None:
    weights = run_with_split(tmp_path / "run", "a,P1,0,train", row)
    assert select_tiles(Named([Tile("n", 0, "P9")]), [weights], "test").patients_known is known


def test_a_tile_must_be_unseen_by_every_model(weights: Path, tmp_path: Path) -> None:
    second = run_with_split(tmp_path / "second", "d,P4,3,train", "e,P5,3,test")
    tiles = [*TILES, Tile("e", 0, "P5")]
    found = select_tiles(Named(tiles), [weights, second], "test")
    assert found.indices.tolist() == [4]


def test_the_data_s_own_parts_hold_where_no_run_lists_the_tile(weights: Path) -> None:
    tiles = [Tile("x", 0, part="train"), Tile("y", 0, part="test"), Tile("d", 0, part="train")]
    assert select_tiles(Named(tiles), [weights], "test").indices.tolist() == [1, 2]
    assert select_tiles(Named(tiles), [weights], "train").indices.tolist() == [0]


def test_without_a_split_beside_the_weights_nothing_is_checked(tmp_path: Path) -> None:
    found = select_tiles(Named(TILES), [tmp_path / "demo.safetensors"], "test")
    assert found.indices.tolist() == [0, 1, 2, 3]
    assert not found.checked


def test_a_patient_on_both_sides_counts_as_used(tmp_path: Path) -> None:
    weights = run_with_split(tmp_path / "leak", "a,P1,0,test", "b,P1,0,train")
    tiles = [Tile("a", 0, "P1"), Tile("z", 0, "P2")]
    assert select_tiles(Named(tiles), [weights], "test").indices.tolist() == [1]


def taught(folder: Path, own: str, teacher: str | None) -> Path:
    """The weights of a student whose run and whose teacher's list these lines."""
    weights = run_with_split(folder, own)
    (folder / "settings.json").write_text('{"teacher": "runs/teacher.safetensors"}')
    if teacher is not None:
        run_with_split(folder / "elsewhere", teacher)
        (folder / "elsewhere/split.csv").rename(folder / "teacher_split.csv")
    return weights


@pytest.mark.parametrize(
    ("own", "teacher", "left"),
    [
        ("z,P9,0,train", "a,P1,0,train", [1, 2, 3]),  # what only the teacher saw
        ("a,P1,0,test", "a,P1,0,validation", [1, 2, 3]),
        ("a,P1,0,train", "a,P1,0,test", [1, 2, 3]),
        ("a,P1,0,test", "z,P9,0,train", [0, 1, 2, 3]),
    ],
)
def test_what_a_student_s_teacher_saw_is_not_held_out(
    tmp_path: Path, own: str, teacher: str, left: list[int]
) -> None:
    found = select_tiles(Named(TILES), [taught(tmp_path / "run", own, teacher)], "test")
    assert found.indices.tolist() == left
    assert found.checked


def test_validation_tiles_that_the_teacher_never_saw_stay_validation_tiles(tmp_path: Path) -> None:
    weights = taught(tmp_path / "run", "a,P1,0,validation", "z,P9,0,train")
    assert select_tiles(Named(TILES), [weights], "validation").indices.tolist() == [0]


def test_a_teacher_of_whom_nothing_is_known_is_not_checked(tmp_path: Path) -> None:
    weights = taught(tmp_path / "run", "a,P1,0,train", None)
    assert not select_tiles(Named(TILES), [weights], "test").checked


@pytest.mark.parametrize("stain", [0, 1])
def test_a_copy_of_a_picture_under_another_name_was_seen(
    random_source, tmp_path: Path, stain: int
) -> None:
    cells = ["", ""]
    cells[stain] = pixel_digest(random_source.pairs[2, stain]).hex()
    folder = tmp_path / "run"
    folder.mkdir()
    text = f"tile,patient,grade,split,he_digest,ihc_digest\nother name,,0,train,{','.join(cells)}\n"
    (folder / "split.csv").write_text(text, encoding="utf-8")
    found = select_tiles(random_source, [folder / "student.safetensors"], "test")
    assert found.indices.tolist() == [0, 1, 3, 4, 5]
    assert found.left_out == {"train": 1}


def test_nothing_left_is_refused_with_advice(weights: Path) -> None:
    with pytest.raises(DataError, match=r"were used to train.*1 train, .*--cohort-seed"):
        select_tiles(Named(TILES[:3]), [weights], "test")
    with pytest.raises(DataError, match=r"none of the 1 tiles is in the train part.*1 test"):
        select_tiles(Named(TILES[3:]), [weights], "train")


@pytest.mark.parametrize("column", ["tile", "patient", "split", "ihc_digest"])
def test_a_split_without_a_column_is_refused_with_what_helps(weights: Path, column: str) -> None:
    path = weights.with_name("split.csv")
    path.write_text(path.read_text(encoding="utf-8").replace(column, "else", 1), encoding="utf-8")
    with pytest.raises(DataError, match=rf"split\.csv has no column '{column}': copy the run's"):
        select_tiles(Named(TILES), [weights], "test")


@pytest.mark.parametrize("row", ["a,P1,0,somewhere", "a,P1", ",P1,0,test"])
def test_a_spoiled_split_is_named_with_its_line(tmp_path: Path, row: str) -> None:
    weights = run_with_split(tmp_path / "run", "b,P2,0,train", row)
    with pytest.raises(DataError, match=r"split\.csv, line 3"):
        select_tiles(Named(TILES), [weights], "test")


def test_chosen_tiles_are_a_source_of_those_alone(random_source) -> None:
    chosen = ChosenTiles(random_source, np.array([4, 1]))
    assert [tile.name for tile in chosen.tiles] == ["1-1", "0-1"]
    np.testing.assert_array_equal(chosen.read(0), random_source.pairs[4])
    assert chosen.identity != ChosenTiles(random_source, np.array([4, 2])).identity
    assert (chosen.tile_px, chosen.mpp) == (random_source.tile_px, random_source.mpp)
