"""Real spots become cases whose genes cannot give the label away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("pandas", reason="needs the extra `train`")

import pandas as pd

from napari_hmkd.bags.bag import read_bag
from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.config import CaseTrainerSettings
from napari_hmkd.training.mkd.evidence import her2st, spot_bags
from napari_hmkd.training.mkd.evidence.approaches import FULL_MKD, P_ALONE
from napari_hmkd.training.mkd.evidence.her2st import Piece, Place, cases_of, run_of, train_piece
from napari_hmkd.training.mkd.evidence.spot_bags import Patch, Patches, bag_path, write_bags
from napari_hmkd.training.mkd.evidence.spots import (
    AMPLICON,
    LEAST_COUNTS,
    SLIDES,
    Spot,
    read_expression,
    read_spots,
)

pytestmark = pytest.mark.slow

CORNERS = {("C2", row) for row in range(17)} | {("C3", row) for row in range(8)}
"""Sections and rows of a few spots."""


class ColourEncoder:
    """Mean colour of a tile: an encoder that can be checked by eye."""

    name, sha256, feature_dim, patch_px, mpp = "colour", "0" * 64, 3, 256, 0.92

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        assert tiles.shape[1:] == (256, 256, 3)
        return tiles.mean((1, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def usable(shared_data: Path) -> list[Spot]:
    return [spot for spot in read_spots(shared_data) if spot.counts >= LEAST_COUNTS]


def test_nothing_of_the_amplicon_is_among_the_genes(shared_data: Path, usable: list[Spot]) -> None:
    genes = read_expression(shared_data, usable)
    assert len(genes.genes) > 14_000
    assert not set(AMPLICON) & set(genes.genes)
    assert set(genes.cases) == {spot.name for spot in usable}
    # Neither does ERBB2 show in the sum that counts are divided by.
    totals = np.expm1(genes.values.astype(np.float64)).sum(1)
    assert (totals < 1e4 + 1).all()


def test_the_amplicon_is_an_unbroken_stretch_of_the_chromosome(shared_data: Path) -> None:
    """The tables of counts list genes in the order of the genome."""
    header = pd.read_csv(shared_data / "her2st" / "C2.tsv.gz", sep="\t", index_col=0, nrows=0)
    places = [header.columns.get_loc(gene) for gene in AMPLICON if gene in header.columns]
    assert places == list(range(places[0], places[0] + len(places)))
    assert len(places) == 30


@pytest.mark.parametrize("train", SLIDES)
def test_labels_split_the_teaching_section_in_half(
    usable: list[Spot], train: str, tmp_path: Path
) -> None:
    cases = cases_of(usable, train, tmp_path)
    taught = [case.label for case in cases if case.name.startswith(train)]
    assert np.mean(taught) == pytest.approx(0.5, abs=0.01)
    assert {case.patient.split()[0] for case in cases} == set(SLIDES)


def test_a_bag_is_a_spot_and_its_neighbours_where_they_lie_on_the_slide(
    shared_data: Path, tmp_path: Path
) -> None:
    few = [spot for spot in read_spots(shared_data) if (spot.section, spot.row) in CORNERS]
    write_bags(shared_data, few, ColourEncoder(), tmp_path)  # type: ignore[arg-type]
    bags = [read_bag(bag_path(tmp_path, "C2", spot)) for spot in few]
    sizes = [len(bag.coords) for bag in bags]
    assert max(sizes) > 3
    for spot, bag in zip(few, bags, strict=True):
        assert bag.patch_px == round(256 * 0.92 / 0.69)
        apart = np.abs(bag.coords + bag.patch_px / 2 - spot.center_px).max(1)
        assert apart.min() < 2
        assert apart.max() < 1.5 * 200 / 0.69


def test_features_are_standardised_by_the_section_that_teaches(
    shared_data: Path, tmp_path: Path
) -> None:
    few = [spot for spot in read_spots(shared_data) if (spot.section, spot.row) in CORNERS]
    write_bags(shared_data, few, ColourEncoder(), tmp_path)  # type: ignore[arg-type]
    for train in SLIDES:
        patches: dict[str, dict] = {section: {} for section in SLIDES}
        for spot in few:
            bag = read_bag(bag_path(tmp_path, train, spot))
            patches[spot.section] |= zip(map(tuple, bag.coords), bag.features, strict=True)
        values = np.array(list(patches[train].values()))
        assert values.mean(0) == pytest.approx(np.zeros(3), abs=1e-3)
        assert values.std(0) == pytest.approx(np.ones(3), abs=1e-3)


def test_a_run_learns_from_one_section_and_answers_the_other(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(her2st, "SETTINGS", CaseTrainerSettings(epochs=1))
    monkeypatch.setattr(her2st, "TOP_GENES", 100)
    place = Place(shared_data, tmp_path, "cpu", 1)
    every = read_spots(shared_data)
    monkeypatch.setattr(spot_bags, "encoded", _colours_without_reading)
    write_bags(shared_data, every, ColourEncoder(), tmp_path / "bags")  # type: ignore[arg-type]
    piece = Piece("C3", FULL_MKD, 0)
    assert train_piece(piece, place, stop_at=1e12)
    answers = run_of(piece, place).answers()
    assert set(answers) == {"P", "M", "G"}
    assert all(name.startswith("C2_") for name in answers["P"].cases)
    fold = run_of(replace(piece, approach=P_ALONE), place).open_data().fold
    cases = run_of(piece, place).open_data().cases
    blocks = [{cases[index].patient for index in part} for part in fold.parts().values()]
    assert not blocks[0] & blocks[1]


def _colours_without_reading(slide, own, encoder) -> Patches:
    rng = np.random.default_rng(0)
    return {
        (spot.row, spot.column): Patch(
            np.array(spot.center_px, np.int64), 341, rng.normal(size=3).astype(np.float32)
        )
        for spot in own
    }


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder that holds"):
        read_spots(tmp_path)
