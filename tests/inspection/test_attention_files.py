"""Attention of a slide in files: what is written is what was inspected, and all of it or nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image
from PIL import Image as Picture

from napari_hmkd.alignment import align_by_matrix
from napari_hmkd.errors import OutputError, SlideError
from napari_hmkd.export.attention import MAP_STORES, write_attention
from napari_hmkd.export.attention_check import CheckedTile, ImportanceCheck, importance_words
from napari_hmkd.export.attention_figure import write_figure
from napari_hmkd.grading import OpenModel
from napari_hmkd.inference import FailedTile
from napari_hmkd.inspection.faithfulness import (
    RECEIVED,
    Faithfulness,
    RankCorrelation,
    check_faithfulness,
)
from napari_hmkd.inspection.importance import Method
from napari_hmkd.inspection.maps import MapKind, tokens_of
from napari_hmkd.inspection.pair import AlignedIhc, StainPair
from napari_hmkd.inspection.slide import InspectedTile, TileRow, inspect_slide
from napari_hmkd.planning import read_tile, tile_grid
from napari_hmkd.slide import open_slide

TILES = [(0, 0), (0, 2), (1, 0), (1, 1)]
ABOUT = {"notice": "random weights", "use": "research use only", "tiles": {"rows": 2}}


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, paint_slide: Callable[..., Path], student: OpenModel
) -> Iterator[StainPair]:
    """Of the IHC the tile (1, 0) is damaged; a tile is no whole number of level-0 px."""
    folder = tmp_path_factory.mktemp("pair")
    files = (
        paint_slide(folder / "he.tif", [[0, 1, 2], [2, 3, 0]]),
        paint_slide(folder / "ihc.tif", [[3, 2, 1], [0, 1, 2], [0, 1, 2]], damaged=[(2, 0)]),
    )
    with open_slide(files[0], mpp=3.9) as he, open_slide(files[1], mpp=3.9) as ihc:
        registered = align_by_matrix(he, ihc, np.eye(3))
        yield StainPair(he, tile_grid(he, student.card), AlignedIhc(ihc, registered, refine=False))


@pytest.fixture(scope="module")
def written(
    pair: StainPair,
    student: OpenModel,
    teacher: OpenModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[InspectedTile]]:
    """The folder of a run, and what was inspected."""
    folder = tmp_path_factory.mktemp("written") / "out"
    steps = write_attention(pair, inspect_slide(pair, student, teacher, TILES), folder, ABOUT)
    return folder, [one for one in steps if isinstance(one, InspectedTile)]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_maps_hold_each_tiles_tokens_where_it_lies(written, level: int) -> None:
    folder, inspected = written
    group = zarr.open_group(folder / MAP_STORES[level], mode="r")
    data, side = group["0"][...], (8, 4, 2)[level]
    assert data.shape[0] == len(MapKind)
    covered = np.zeros(data.shape[1:], bool)
    for one in inspected:
        top, left = np.multiply(one.tile, side)
        place = slice(top, top + side), slice(left, left + side)
        covered[place] = True
        for channel, kind in enumerate(MapKind):
            expected = tokens_of(one.inspection, kind, level)
            np.testing.assert_array_equal(data[(channel, *place)], expected)
    assert np.isnan(data[:, ~covered]).all()


def test_stores_are_valid_and_lie_over_the_slide(written, pair: StainPair) -> None:
    folder, _ = written
    for name, side in zip((*MAP_STORES, "agreement.ome.zarr"), (8, 4, 2, 1), strict=True):
        image = Image.from_zarr(zarr.open_group(folder / name, mode="r"))
        (multiscale,) = image.attributes.ome.multiscales
        assert multiscale.name == f"{name.removesuffix('.ome.zarr').replace('_', ' ')} (he.tif)"
        scale, translation = multiscale.datasets[0].coordinateTransformations
        step_um = 256 * 4.0 / side
        assert scale.scale[1:] == pytest.approx([step_um] * 2)
        assert translation.translation[1:] == pytest.approx([step_um / 2 - 3.9 / 2] * 2)


def test_the_table_and_agreement_tell_of_each_tile(written) -> None:
    folder, inspected = written
    with (folder / "attention.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*TileRow.names(), "regions", "notice"]
    assert {row["notice"] for row in rows} == {"random weights"}
    agreement = zarr.open_group(folder / "agreement.ome.zarr", mode="r")["0"]
    for row, one in zip(rows, inspected, strict=True):
        assert (int(row["row"]), int(row["column"])) == one.tile
        assert float(row["attention_loss"]) == pytest.approx(one.inspection.losses["attention"])
        for who, logits in zip(("student", "teacher"), one.inspection.logits, strict=True):
            said = [float(row[f"{who}_logit_{grade}"]) for grade in range(4)]
            assert said == pytest.approx(logits)
        found = [agreement[(level, *one.tile)] for level in range(3)]
        assert found == pytest.approx([one.inspection.agreement(level) for level in range(3)])


def test_what_failed_is_told_with_its_reason(written) -> None:
    folder, _ = written
    with (folder / "failed.csv").open(encoding="utf-8", newline="") as file:
        ((row, column, reason),) = list(csv.reader(file))[1:]
    assert (row, column) == ("1", "0")
    assert "ihc.tif" in reason
    about = json.loads((folder / "attention.json").read_text(encoding="utf-8"))
    assert about == ABOUT | {"inspected_tiles": 3, "failed_tiles": 1, "regions": []}


def test_a_run_that_is_left_leaves_no_file(
    pair: StainPair, student: OpenModel, teacher: OpenModel, tmp_path: Path
) -> None:
    out = tmp_path / "results" / "out"
    steps = write_attention(pair, inspect_slide(pair, student, teacher, TILES), out, ABOUT)
    next(steps)
    steps.close()
    assert list(out.parent.iterdir()) == []


def test_where_nothing_could_be_looked_into_nothing_is_written(
    pair: StainPair, tmp_path: Path
) -> None:
    failed = [FailedTile(0, 0, "damaged"), FailedTile(0, 1, "damaged, too")]
    with pytest.raises(SlideError, match=r"2 tiles of he\.tif.*failed with: damaged;"):
        list(write_attention(pair, failed, tmp_path / "out", ABOUT))
    assert not (tmp_path / "out").exists()


def test_what_others_wrote_is_left_alone(
    pair: StainPair, student: OpenModel, tmp_path: Path
) -> None:
    mine = tmp_path / "mine" / "letter.txt"
    mine.parent.mkdir()
    mine.write_text("dear reader")
    with pytest.raises(OutputError, match="not written by this program"):
        list(write_attention(pair, inspect_slide(pair, student, None, TILES), mine.parent, ABOUT))
    assert mine.read_text() == "dear reader"


@pytest.mark.slow
@pytest.mark.parametrize("with_teacher", [True, False])
def test_the_figure_shows_the_slide_and_the_tiles(
    written, pair: StainPair, student: OpenModel, tmp_path: Path, with_teacher: bool
) -> None:
    _, inspected = written
    agreement = np.array([[0.2, np.nan, 0.9], [np.nan, 0.5, np.nan]])
    if not with_teacher:
        pair = StainPair(pair.he, pair.grid)
        inspected, agreement = list(inspect_slide(pair, student, None, TILES)), None
    bare = [tmp_path / "none.png", tmp_path / "one.png"]
    write_figure(pair, agreement, [], ABOUT, bare[0])
    write_figure(pair, agreement, inspected[:1], ABOUT, bare[1])
    without, with_tile = (Picture.open(path) for path in bare)
    assert with_tile.height > without.height
    assert json.loads(with_tile.text["napari_hmkd"]) == ABOUT
    # The slide is in the middle of its part: as much white to its left as there is to the right.
    part = np.asarray(with_tile.convert("L"))[: without.height // 2]
    inked = np.flatnonzero((part < 250).any(axis=0))
    left, right = inked[0], part.shape[1] - 1 - inked[-1]
    assert abs(left - right) < 0.12 * part.shape[1]


@pytest.mark.slow
@pytest.mark.usefixtures("captum", "undrawn_figures")
def test_importance_is_checked_in_the_worst_tiles(
    pair: StainPair, student: OpenModel, teacher: OpenModel, tmp_path: Path
) -> None:
    inspected = inspect_slide(pair, student, teacher, TILES)
    check = ImportanceCheck(student, tiles=2)
    steps = list(write_attention(pair, inspected, tmp_path / "out", ABOUT, check=check))
    tiles = [one for one in steps if isinstance(one, InspectedTile)]
    tiles.sort(key=lambda one: -one.inspection.losses["attention"])
    checked = [one for one in steps if isinstance(one, CheckedTile)]
    assert [one.tile for one in checked] == [one.tile for one in tiles[:2]]
    about = json.loads((tmp_path / "out" / "attention.json").read_text(encoding="utf-8"))
    found = about["importance"]
    assert found["level"] == 0, "of 256 px, level 0 alone has 64 tokens"
    he = read_tile(pair.he, pair.grid, tiles[0].tile)
    *_, expected = check_faithfulness(student, he, tiles[0].inspection, level=0)
    first = found["each"][0]
    assert (first["row"], first["column"]) == tiles[0].tile
    for (one, other), correlation in expected.correlations.items():
        said = first["rank_correlation"][f"{one} with {other}"]
        assert said["rho"] == pytest.approx(correlation.rho, abs=1e-3)
    rhos = [one.found.correlations[RECEIVED, Method.OCCLUSION].rho for one in checked]
    mean = found["mean_rank_correlation"]["received attention with occlusion"]
    assert (mean["rho"], mean["n"]) == (pytest.approx(np.mean(rhos)), 2)


@pytest.mark.parametrize(
    ("with_teacher", "rhos", "said"),
    [
        (True, [0.5], "over 1 tile with the greatest attention loss"),
        (False, [0.5, 0.3], "over 2 tiles with the highest expected grade"),
        (True, [0.5, None, 0.3], "by occlusion 0.40 (0.30 to 0.50), defined in 2,"),
    ],
)
def test_the_finding_says_which_tiles_it_is_of(with_teacher, rhos, said: str) -> None:
    pairs = [(RECEIVED, method) for method in Method]
    checked = [
        CheckedTile(
            (0, number),
            Faithfulness(1, {}, dict.fromkeys(pairs, RankCorrelation(rho, None, None, 64))),
        )
        for number, rho in enumerate(rhos)
    ]
    assert said in importance_words(checked, with_teacher)
