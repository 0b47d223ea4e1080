"""Pieces of work in processes of their own."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from napari_hmkd.errors import DeviceError
from napari_hmkd.sample import Cohort
from napari_hmkd.sample.cohort import placed_tiles
from napari_hmkd.training.piecework import piece_processes, run_pieces

SEED = 77


def knows_the_cohort(piece: int) -> bool:
    return any(seed == SEED for seed, *_ in placed_tiles())


def test_their_processes_know_the_cohorts_that_were_placed_before() -> None:
    Cohort(SEED, patients=1, tiles_per_patient=1, tile_px=256)
    with piece_processes(1) as pool:
        assert run_pieces([0, 1], knows_the_cohort, pool, str)


def names_its_process(piece: int, folder: Path) -> bool:
    (folder / f"{piece} by {os.getpid()}").touch()
    return True


def test_one_stage_after_the_other_is_worked_on_by_the_same_processes(tmp_path: Path) -> None:
    work = partial(names_its_process, folder=tmp_path)
    with piece_processes(1) as pool:
        assert all(run_pieces(stage, work, pool, str) for stage in ([0, 1], [2]))
    pieces, processes = zip(*(path.name.split(" by ") for path in tmp_path.iterdir()), strict=True)
    assert sorted(pieces) == ["0", "1", "2"]
    assert len(set(processes)) == 1


def fails_at_first(piece: int, folder: Path) -> bool:
    if piece == 0:
        raise DeviceError("the network failed on cuda:0")
    time.sleep(0.2)
    return names_its_process(piece, folder)


def test_an_error_is_told_at_once_and_leaves_undone_what_was_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with piece_processes(1) as pool, pytest.raises(DeviceError):
        run_pieces(range(20), partial(fails_at_first, folder=tmp_path), pool, str)
    assert len([*tmp_path.iterdir()]) <= 4
    assert "handed out ends first: the network failed on cuda:0" in capsys.readouterr().err
