"""Splits: by patient where patients are known, and honest where they are not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import SplitSettings
from napari_hmkd.training.splits import split_tiles
from napari_hmkd.training.tiles import Tile


def cohort(patients: int, tiles: int = 5) -> list[Tile]:
    return [
        Tile(f"{p}-{t}", grade=(p + t // 4) % 4, patient=f"p{p}")
        for p in range(patients)
        for t in range(tiles)
    ]


@settings(max_examples=20, deadline=None)
@given(patients=st.integers(4, 30), seed=st.integers(0, 99))
def test_every_tile_is_in_one_part_and_no_patient_in_two(patients: int, seed: int) -> None:
    tiles = cohort(patients)
    split = split_tiles(tiles, SplitSettings(split_seed=seed))
    parts = split.parts()
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(tiles)))
    owners = [{tiles[i].patient for i in indices} for indices in parts.values()]
    assert all(owners)
    assert sum(map(len, owners)) == patients


def test_shares_and_grades_are_kept_where_there_are_many_patients() -> None:
    tiles = cohort(80)
    split = split_tiles(tiles, SplitSettings())
    shares = {name: len(indices) / len(tiles) for name, indices in split.parts().items()}
    assert shares == pytest.approx(
        {"train": 0.60, "validation": 0.15, "calibration": 0.10, "test": 0.15}, abs=0.04
    )
    for indices in split.parts().values():
        counts = np.bincount([tiles[i].grade for i in indices], minlength=4)
        assert counts.min() > 0.6 * counts.mean()


def test_the_seed_decides() -> None:
    tiles = cohort(20)
    first, same, other = (
        split_tiles(tiles, SplitSettings(split_seed=seed)).test.tolist() for seed in (1, 1, 2)
    )
    assert first == same != other


def test_a_test_folder_stays_the_test_part_and_the_note_warns() -> None:
    tiles = [Tile(f"train/{n}", n % 4, part="train") for n in range(40)]
    tiles += [Tile(f"test/{n}", n % 4, part="test") for n in range(8)]
    split = split_tiles(tiles, SplitSettings())
    assert split.test.tolist() == list(range(40, 48))
    assert (len(split.validation), len(split.calibration)) == (6, 4)
    assert "not a patient-level split" in split.note


def test_without_a_share_there_is_no_test_part() -> None:
    assert len(split_tiles(cohort(3), SplitSettings(test_share=0)).test) == 0


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        (cohort(1), "one patient cannot be divided"),
        ([Tile("test/1", 0, part="test")], "all tiles are in a test folder"),
        ([Tile(f"train/{n}", n, part="train") for n in range(4)], "Give more tiles"),
    ],
)
def test_too_little_data_is_refused(tiles: list[Tile], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_tiles(tiles, SplitSettings())


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (-0.1, 0.1, 0), (0, 0.1, 0), (0.1, 0, 0)])
def test_impossible_shares_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="share"):
        SplitSettings(*shares)


def test_the_split_is_written_with_one_line_per_tile(tmp_path: Path) -> None:
    tiles = cohort(6)
    split_tiles(tiles, SplitSettings()).write(tmp_path / "split.csv", tiles)
    with (tmp_path / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["tile"] for row in rows) == sorted(tile.name for tile in tiles)
    assert set(rows[0]) == {"tile", "patient", "grade", "split"}
