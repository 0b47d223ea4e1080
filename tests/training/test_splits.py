"""Splits: by patient where patients are known, and honest where they are not."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.config import SplitSettings
from napari_hmkd.training.splits import NOT_BY_PATIENT, Split, split_tiles
from napari_hmkd.training.tiles import PARTS, Tile


def cohort(patients: int, tiles: int = 5) -> list[Tile]:
    return [
        Tile(f"{p}-{t}", grade=(p + t) % 4, patient=f"p{p}")
        for p in range(patients)
        for t in range(tiles)
    ]


def nameless(count: int, part: str | None = None) -> list[Tile]:
    """Tiles of unknown patients, every grade in turn."""
    return [Tile(f"{part}/{n}", n % 4, part=part) for n in range(count)]


def owners(tiles: list[Tile], split: Split) -> list[set[str | None]]:
    return [{tiles[i].patient for i in indices} for indices in split.parts().values()]


def require_partition(tiles: list[Tile], split: Split) -> None:
    parts = split.parts()
    assert tuple(parts) == PARTS
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(tiles)))
    for indices in parts.values():
        assert np.all(np.diff(indices) > 0)


# Patients with any grades, labelled or not; four more make sure that no grade can run out.
GRADES = st.sampled_from([None, 0, 1, 2, 3])
PATIENTS = st.lists(st.lists(GRADES, min_size=1, max_size=6), min_size=8, max_size=20)


def tiles_of(patients: list[list[int | None]]) -> list[Tile]:
    full = [[0, 1, 2, 3]] * 6
    return [
        Tile(f"{p}-{n}", grade, patient=f"p{p}")
        for p, grades in enumerate(full + patients)
        for n, grade in enumerate(grades)
    ]


@settings(max_examples=30)
@given(patients=PATIENTS, seed=st.integers(0, 99))
def test_every_tile_is_in_one_part_and_no_patient_in_two(
    patients: list[list[int | None]], seed: int
) -> None:
    tiles = tiles_of(patients)
    split = split_tiles(tiles, SplitSettings(split_seed=seed))
    require_partition(tiles, split)
    found = owners(tiles, split)
    assert all(found)
    assert sum(map(len, found)) == len(set().union(*found))


@settings(max_examples=10)
@given(patients=PATIENTS, folds=st.integers(2, 4), seed=st.integers(0, 99), known=st.booleans())
def test_over_the_folds_every_tile_is_tested_once(
    patients: list[list[int | None]], folds: int, seed: int, known: bool
) -> None:
    tiles = tiles_of(patients)
    if not known:
        tiles = [replace(tile, patient=None) for tile in tiles]
    tested = []
    for fold in range(folds):
        split = split_tiles(tiles, SplitSettings(folds=folds, fold=fold, split_seed=seed))
        require_partition(tiles, split)
        tested += split.test.tolist()
        found = owners(tiles, split)
        assert not known or sum(map(len, found)) == len(set().union(*found))
    assert sorted(tested) == list(range(len(tiles)))


@settings(max_examples=30)
@given(
    patients=PATIENTS,
    given_parts=st.lists(st.sampled_from([None, *PARTS]), min_size=8, max_size=8),
)
def test_parts_given_by_the_data_are_kept(
    patients: list[list[int | None]], given_parts: list[str | None]
) -> None:
    tiles = [
        replace(tile, part=part)
        for tile, part in zip(tiles_of(patients), [None] * 24 + given_parts * 15, strict=False)
    ]
    validated = {tile.grade for tile in tiles if tile.part == "validation"}
    assume(len(validated) != 1 or validated == {None})  # one grade alone is refused
    split = split_tiles(tiles, SplitSettings())
    require_partition(tiles, split)
    for part, indices in split.parts().items():
        named = {i for i, tile in enumerate(tiles) if tile.part == part}
        if part == "train":
            assert all(tiles[i].part in (None, "train") for i in indices)
        elif named:
            assert set(indices.tolist()) == named


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


def of_slides(per_grade: int, tiles: int = 10) -> list[Tile]:
    """Patients whose tiles all carry their slide's grade."""
    return [
        Tile(f"{patient}-{n}", patient % 4, patient=f"P{patient}")
        for patient in range(4 * per_grade)
        for n in range(tiles)
    ]


@pytest.mark.parametrize(("per_grade", "options"), [(2, {}), (2, {"test_share": 0.0}), (3, {})])
def test_few_patients_with_one_grade_each_are_divided_where_they_can_be(
    per_grade: int, options: dict
) -> None:
    tiles = of_slides(per_grade)
    for seed in range(20):
        split = split_tiles(tiles, SplitSettings(split_seed=seed, **options))
        require_partition(tiles, split)
        assert {tiles[i].grade for i in split.train} == {0, 1, 2, 3}
        assert len({tiles[i].grade for i in split.validation}) >= 2


@pytest.mark.parametrize("known", [True, False])
def test_held_out_parts_have_many_grades_where_there_are_many_patients(known: bool) -> None:
    tiles = of_slides(6)
    if not known:
        tiles = [replace(tile, patient=None) for tile in tiles]
    split = split_tiles(tiles, SplitSettings())
    assert len({tiles[i].grade for i in split.validation}) == 4
    assert len({tiles[i].grade for i in split.calibration}) >= 2


def test_the_seed_decides() -> None:
    tiles = cohort(20)
    first, same, other = (
        split_tiles(tiles, SplitSettings(split_seed=seed)).test.tolist() for seed in (1, 1, 2)
    )
    assert first == same != other


def test_without_a_share_there_is_no_test_part() -> None:
    assert len(split_tiles(cohort(3), SplitSettings(test_share=0)).test) == 0


def test_a_rare_grade_stays_in_training_where_it_can() -> None:
    tiles = [Tile(f"{p}-{n}", n % 3, patient=f"p{p}") for p in range(12) for n in range(6)]
    tiles[40] = replace(tiles[40], grade=3)
    for seed in range(10):
        split = split_tiles(tiles, SplitSettings(split_seed=seed))
        assert 40 in split.train


@pytest.mark.parametrize(
    ("tiles", "sizes", "note"),
    [
        pytest.param(
            nameless(40, "train") + nameless(8, "test"),
            {"train": 30, "validation": 6, "calibration": 4, "test": 8},
            "stratified by grade; test as the data gives it",
            id="BCI: train and test",
        ),
        pytest.param(
            nameless(40, "train") + nameless(8, "validation") + nameless(4, "test"),
            {"train": 35, "validation": 8, "calibration": 5, "test": 4},
            "stratified by grade; validation, test as the data gives it",
            id="no calibration",
        ),
        pytest.param(
            [tile for part in PARTS for tile in nameless(8, part)],
            dict.fromkeys(PARTS, 8),
            "are optimistic; validation, calibration, test as the data gives it",
            id="all given",
        ),
        pytest.param(
            [Tile(f"{n}", None) for n in range(40)],
            {"train": 24, "validation": 6, "calibration": 4, "test": 6},
            "scores are optimistic",
            id="no labels",
        ),
    ],
)
def test_what_the_data_leaves_open_is_drawn_from_training(
    tiles: list[Tile], sizes: dict[str, int], note: str
) -> None:
    split = split_tiles(tiles, SplitSettings())
    assert {name: len(indices) for name, indices in split.parts().items()} == sizes
    assert split.note.startswith(NOT_BY_PATIENT)
    assert split.note.endswith(note)


@pytest.mark.parametrize(
    ("change", "options", "note"),
    [
        ({}, {}, "split by patient; stratified by grade"),
        ({"grade": None}, {}, "split by patient"),
        ({"patient": None}, {}, "not a patient-level split: the data does not tell patients apart"),
        (
            {},
            {"folds": 3, "fold": 1},
            "split by patient; stratified by grade; test is fold 1 (from 0) of 3",
        ),
    ],
)
def test_the_note_says_what_kind_of_split_it_is(change: dict, options: dict, note: str) -> None:
    tiles = [replace(tile, **change) for tile in cohort(20)]
    found = split_tiles(tiles, SplitSettings(**options)).note
    assert found == note or (change and found.startswith(note))


def test_the_note_tells_patients_whom_the_data_puts_on_both_sides() -> None:
    tiles = [replace(t, part="test" if t.name.endswith("-4") else "train") for t in cohort(12)]
    note = split_tiles(tiles, SplitSettings()).note
    assert "the data gives tiles of one patient to more than one part" in note


def test_the_note_counts_tiles_without_a_patient() -> None:
    tiles = cohort(12)
    tiles[7] = replace(tiles[7], patient=None)
    split = split_tiles(tiles, SplitSettings())
    assert "not known to be a patient-level split: 1 of 60 tiles name no patient" in split.note
    found = owners(tiles, split)
    assert sum(len(patients - {None}) for patients in found) == 12


@pytest.mark.parametrize(
    ("tiles", "options", "message"),
    [
        (cohort(1), {}, "no test part can be drawn: the 5 tiles .* are of one patient"),
        (nameless(4, "test"), {}, "no tiles are left to train on: the data gives all 4 of them"),
        (nameless(4, "train"), {}, "no test part can be drawn: the 4 tiles .* one of each grade"),
        (
            [Tile(f"{n}", n % 3) for n in range(60)],
            {},
            r"no tile of grade 3\+ is left to train on; the data has 0 in all\. .* grade: all four are needed$",
        ),
        (
            [Tile(f"{n}", n % 3) for n in range(60)]
            + [Tile(f"v{n}", 3, part="validation") for n in range(4)],
            {},
            r"no tile of grade 3\+ is left to train on; the data has 4 in all\. .*, or another --split-seed$",
        ),
        (
            nameless(40, "train") + [Tile(f"v{n}", 2, part="validation") for n in range(5)],
            {},
            r"all 5 validation tiles have the grade 2\+, .* patients to it, or leave it to be drawn$",
        ),
        (of_slides(3), {"folds": 2}, "validation tiles have the grade|is left to train on"),
        (cohort(3), {"folds": 4}, "--folds 4 needs as many patients.* enough for 3"),
        (
            nameless(20, "train") + nameless(4, "test"),
            {"folds": 2},
            "the data gives its own test: leave out --folds",
        ),
        (
            # Three grades have too few tiles for ten folds.
            [Tile(f"{n}", max(0, n // 2 - 19)) for n in range(46)],
            {"folds": 10, "fold": 9},
            "the fold to test on has one grade at most",
        ),
    ],
)
def test_data_that_cannot_be_divided_is_refused(
    tiles: list[Tile], options: dict, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split_tiles(tiles, SplitSettings(**options))


@pytest.mark.parametrize(
    ("tiles", "options", "part", "leave_out_test"),
    [
        (cohort(1), {}, "test", True),
        (cohort(2), {}, "validation", True),
        (cohort(3), {}, "calibration", True),
        (cohort(2), {"test_share": 0.0}, "calibration", False),
        (cohort(2), {"folds": 2}, "validation", False),
        (cohort(1) + nameless(8, "test"), {}, "validation", False),
        (cohort(1) + nameless(8, "validation"), {"test_share": 0.0}, "calibration", False),
    ],
)
def test_the_part_that_cannot_be_drawn_is_named_with_advice_that_helps(
    tiles: list[Tile], options: dict, part: str, leave_out_test: bool
) -> None:
    with pytest.raises(DataError, match=f"no {part} part can be drawn") as caught:
        split_tiles(tiles, SplitSettings(**options))
    assert ("--test-share" in str(caught.value)) == leave_out_test


@pytest.mark.parametrize(("share", "parts"), [(0.5, 2), (0.45, 2), (0.3, 3), (0.21, 5), (0.15, 7)])
def test_a_share_is_rounded_to_one_of_so_many_equal_parts(share: float, parts: int) -> None:
    split = split_tiles(nameless(840), SplitSettings(test_share=share))
    assert len(split.test) == 840 // parts


def test_unlabelled_training_tiles_may_lack_every_grade() -> None:
    tiles = [Tile(f"{n}", None, part="train") for n in range(40)] + nameless(8, "test")
    assert len(split_tiles(tiles, SplitSettings()).train)


def test_validation_tiles_without_a_grade_need_no_two_grades() -> None:
    tiles = nameless(40, "train") + [Tile(f"v{n}", None, part="validation") for n in range(4)]
    assert len(split_tiles(tiles, SplitSettings()).validation) == 4
    bare = [Tile(f"{n}", None, f"p{n % 9}") for n in range(40)]
    assert len(split_tiles(bare, SplitSettings(folds=3)).test)


@pytest.mark.parametrize(
    "shares",
    [(0.5, 0.3, 0.2), (-0.1, 0.1, 0), (0, 0.1, 0), (0.1, 0, 0), (0.51, 0.1, 0), (0.1, 0.1, 0.6)],
)
def test_impossible_shares_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="share"):
        SplitSettings(*shares)


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (-1, 0), (3, 3), (3, -1), (0, 1)])
def test_impossible_folds_are_refused(folds: int, fold: int) -> None:
    with pytest.raises(DataError, match="--fold counts from 0"):
        SplitSettings(folds=folds, fold=fold)


def test_the_split_is_written_with_one_line_per_tile(tmp_path: Path) -> None:
    tiles = [*cohort(6), Tile("ü, 1", None, "p0")]
    split = split_tiles(tiles, SplitSettings())
    digests = [(bytes([i]) * 16, None) for i in range(len(tiles))]
    split.write(tmp_path / "split.csv", tiles, digests)
    with (tmp_path / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["tile"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {tile.name for tile in tiles}
    columns = {"tile", "patient", "grade", "split", "he_digest", "ihc_digest"}
    assert set(rows["ü, 1"]) == columns
    assert rows["ü, 1"]["grade"] == rows["ü, 1"]["ihc_digest"] == ""
    assert rows["ü, 1"]["he_digest"] == digests[-1][0].hex()
    for part, indices in split.parts().items():
        assert {rows[tiles[i].name]["split"] for i in indices} == {part}
    assert list(tmp_path.iterdir()) == [tmp_path / "split.csv"]


def test_a_split_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    tiles = cohort(6)
    (tmp_path / "split.csv").mkdir()
    with pytest.raises(OutputError, match=r"split\.csv cannot be written"):
        split_tiles(tiles, SplitSettings()).write(
            tmp_path / "split.csv", tiles, [(None, None)] * len(tiles)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]
