"""Pieces of work in processes of their own."""

from __future__ import annotations

from napari_hmkd.sample import Cohort
from napari_hmkd.sample.cohort import placed_tiles
from napari_hmkd.training.piecework import run_pieces

SEED = 77


def knows_the_cohort(piece: int) -> bool:
    return any(seed == SEED for seed, *_ in placed_tiles())


def test_their_processes_know_the_cohorts_that_were_placed_before() -> None:
    Cohort(SEED, patients=1, tiles_per_patient=1, tile_px=256)
    assert run_pieces([0, 1], knows_the_cohort, 1, str)
