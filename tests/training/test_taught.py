"""A teacher that knows the tiles its student is judged by is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.splits import Split
from napari_hmkd.training.taught import PATIENTS_UNKNOWN, SEPARATE, refuse_seen_by_teacher
from napari_hmkd.training.tiles import PARTS, Tile


def make_split(**parts: list[int]) -> Split:
    return Split(*(np.array(parts.get(name, []), np.intp) for name in PARTS), note="")


TILES = [Tile(f"Kachel {i}", i % 4) for i in range(8)]
# Two tiles in each part.
STUDENT = make_split(train=[0, 1], validation=[2, 3], calibration=[4, 5], test=[6, 7])


# None of them has a picture.
UNSEEN = [(None, None)] * len(TILES)


def teacher_of(
    folder: Path, split: Split | None, tiles: list[Tile] = TILES, digests=UNSEEN
) -> Path:
    """A weights file, which is not read, with the split of its run beside it."""
    weights = folder / "Läufe 1" / "teacher.safetensors"
    weights.parent.mkdir()
    if split is not None:
        split.write(weights.with_name("split.csv"), tiles, digests)
    return weights


def test_the_same_split_passes(tmp_path: Path, capsys) -> None:
    weights = teacher_of(tmp_path, STUDENT)
    assert refuse_seen_by_teacher(weights, TILES, STUDENT, UNSEEN, accept=False) == PATIENTS_UNKNOWN
    assert capsys.readouterr().err == ""


def test_picking_and_calibrating_may_share_tiles(tmp_path: Path) -> None:
    swapped = make_split(train=[0, 1], validation=[4, 5], calibration=[2, 3], test=[6, 7])
    weights = teacher_of(tmp_path, swapped)
    assert refuse_seen_by_teacher(weights, TILES, STUDENT, UNSEEN, accept=False) == PATIENTS_UNKNOWN


@pytest.mark.parametrize(
    ("split", "told"),
    [
        (make_split(train=[0, 7]), "1 of 2 test tiles.*its train part .Kachel 7"),
        (make_split(validation=[6, 7]), "2 of 2 test tiles.*its validation part"),
        (make_split(train=[0], calibration=[6]), "1 of 2 test tiles.*its calibration part"),
        (make_split(train=[0, 3]), "1 of 2 validation tiles.*its train part .Kachel 3"),
        (make_split(train=[4], test=[6, 7]), "1 of 2 calibration tiles.*its train part"),
    ],
)
def test_tiles_that_the_teacher_knows_are_named(
    tmp_path: Path, capsys, split: Split, told: str
) -> None:
    weights = teacher_of(tmp_path, split)
    with pytest.raises(DataError, match=told) as refused:
        refuse_seen_by_teacher(weights, TILES, STUDENT, UNSEEN, accept=False)
    assert "same split or fold" in str(refused.value)
    assert "--accept-leaks" in str(refused.value)
    note = refuse_seen_by_teacher(weights, TILES, STUDENT, UNSEEN, accept=True)
    assert "accepted" in note
    assert "warning" in capsys.readouterr().err


def test_other_tiles_of_a_patient_count(tmp_path: Path) -> None:
    taught = [Tile("a", 0, "Patientin Ä"), Tile("b", 1, "Patient B")]
    weights = teacher_of(tmp_path, make_split(train=[0], test=[1]), taught)
    tiles = [Tile("c", 0, "Patientin Ä"), Tile("d", 1, "Patient D")]
    with pytest.raises(DataError, match="1 of 2 test tiles, or their patients"):
        refuse_seen_by_teacher(weights, tiles, make_split(test=[0, 1]), UNSEEN, accept=False)
    note = refuse_seen_by_teacher(
        weights, tiles, make_split(train=[0], test=[1]), UNSEEN, accept=False
    )
    assert note == SEPARATE


@pytest.mark.parametrize(
    ("taught", "judged", "said"),
    [("A", "B", SEPARATE), (None, "B", PATIENTS_UNKNOWN), ("A", None, PATIENTS_UNKNOWN)],
)
def test_patients_count_as_others_only_where_both_runs_name_theirs(
    tmp_path: Path, taught: str | None, judged: str | None, said: str
) -> None:
    weights = teacher_of(tmp_path, make_split(train=[0]), [Tile("a", 0, taught)])
    tiles = [Tile("b", 0, judged)]
    split = make_split(test=[0])
    assert refuse_seen_by_teacher(weights, tiles, split, UNSEEN[:1], accept=False) == said


def test_a_picture_of_another_name_counts(tmp_path: Path) -> None:
    pictures = [(bytes([i]), bytes([9 + i])) for i in range(len(TILES))]
    renamed = [Tile(f"kopiert/{tile.name}", tile.grade) for tile in TILES]
    weights = teacher_of(tmp_path, make_split(train=[0, 6]), renamed, pictures)
    with pytest.raises(DataError, match=r"1 of 2 test tiles.*its train part .Kachel 6"):
        refuse_seen_by_teacher(weights, TILES, STUDENT, pictures, accept=False)


def test_a_teacher_without_a_split_is_said_and_recorded(tmp_path: Path, capsys) -> None:
    weights = teacher_of(tmp_path, None)
    note = refuse_seen_by_teacher(weights, TILES, STUDENT, UNSEEN, accept=False)
    assert "was not checked" in note
    assert "was not checked" in capsys.readouterr().err
