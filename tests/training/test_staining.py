"""Attention ranked by drawn staining: the truth of tokens, the ranking, the table."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_hmkd.model import ModelCard, build_student, build_teacher
from napari_hmkd.sample.cohort import Cohort
from napari_hmkd.sample.her2 import Staining
from napari_hmkd.training.graders import Grader
from napari_hmkd.training.staining import GAZES, auc, rank_tiles, stained_tokens, summarise

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return Cohort(seed=3, patients=4, tiles_per_patient=2, tile_px=256)


@pytest.mark.parametrize("side", [8, 2])
def test_a_token_is_stained_as_the_cells_in_it_are(cohort: Cohort, side: int) -> None:
    for record in cohort.records:
        found = stained_tokens(cohort, record, side)
        side_um = cohort.tile_px * cohort.mpp / side
        for row, column in np.ndindex(side, side):
            corner = record.y_um + row * side_um, record.x_um + column * side_um
            cells = cohort.tissue(record.patient).cells(corner, (side_um, side_um))
            y, x = cells.y_um - corner[0], cells.x_um - corner[1]
            inside = (y >= 0) & (y < side_um) & (x >= 0) & (x < side_um)
            staining = np.where(cells.is_tumour, cells.staining, Staining.NONE)[inside]
            expected = -1
            if len(staining) and (staining >= Staining.MODERATE_COMPLETE).mean() >= 0.5:
                expected = 1
            elif len(staining) and not staining.any():
                expected = 0
            assert found[row, column] == expected


def test_brown_tokens_are_the_stained_ones(cohort: Cohort) -> None:
    """The truth lies where the drawn IHC has it: red exceeds blue in DAB, not in the counterstain."""
    values = []
    for record in cohort.records:
        _, ihc = cohort.render(record)
        brown = ihc[..., 0].astype(float) - ihc[..., 2]
        tokens = brown.reshape(8, 32, 8, 32).mean(axis=(1, 3))
        values.append(auc(stained_tokens(cohort, record, 8), tokens))
    known = [value for value in values if not math.isnan(value)]
    assert len(known) >= 2
    assert min(known) > 0.9


@pytest.mark.parametrize(
    ("received", "expected"),
    [([4, 3, 2, 1], 1.0), ([1, 2, 3, 4], 0.0), ([1, 1, 1, 1], 0.5), ([4, 1, 3, 2], 0.5)],
)
def test_the_ranking_is_the_share_of_pairs_in_order(received: list[int], expected: float) -> None:
    stained = np.array([[1, 1], [0, 0]], np.int8)
    assert auc(stained, np.array(received, float).reshape(2, 2)) == expected


@pytest.mark.parametrize("kind", [0, 1, -1])
def test_a_tile_of_one_kind_ranks_nothing(kind: int) -> None:
    assert math.isnan(auc(np.full((4, 4), kind, np.int8), np.arange(16.0).reshape(4, 4)))


def test_tokens_left_out_do_not_count() -> None:
    stained = np.array([[1, -1], [-1, 0]], np.int8)
    assert auc(stained, np.array([[2.0, 9.0], [-9.0, 1.0]])) == 1.0


def test_every_gaze_and_level_has_its_mean_over_tiles(cohort: Cohort) -> None:
    torch.manual_seed(0)
    cards = (
        ModelCard(name=role, role=role, width=0.25, mpp=0.92, tile_px=256)
        for role in ("teacher", "student")
    )
    networks = (build_teacher(width=0.25), build_student(width=0.25))
    graders = [Grader(network, card) for network, card in zip(networks, cards, strict=True)]
    rankings = list(rank_tiles(cohort, *graders, torch.device("cpu")))
    assert len(rankings) == len(cohort.records)
    rows = summarise(cohort, rankings)
    assert [row[:2] for row in rows] == [(gaze, level) for gaze in GAZES for level in range(3)]
    for number, (_, _, tiles, mean) in enumerate(rows):
        values = np.array(rankings).reshape(len(rankings), -1)[:, number]
        assert tiles == np.isfinite(values).sum()
        if tiles:
            assert mean.value == pytest.approx(np.nanmean(values))
        else:
            assert mean.value is None
