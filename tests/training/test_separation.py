"""Training refuses parts that share a patient or a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.separation import picture_digests, refuse_leaks
from napari_hmkd.training.splits import Split
from napari_hmkd.training.tiles import Tile


def split_of(train: list[int], test: list[int]) -> Split:
    empty = np.array([], dtype=np.intp)
    return Split(np.array(train), empty, empty, np.array(test), "")


def test_training_refuses_a_picture_on_both_sides(random_source, capsys) -> None:
    random_source.tiles = [replace(tile, patient=None) for tile in random_source.tiles]
    random_source.pairs[4, 1] = random_source.pairs[2, 1]
    split, digests = split_of([0, 1, 2], [3, 4, 5]), picture_digests(random_source)
    with pytest.raises(
        DataError, match=r"same IHC picture is in train: 0-2 IHC; test: 1-1 IHC\n.*--accept"
    ):
        refuse_leaks(random_source, split, digests, accept=False)
    (accepted,) = refuse_leaks(random_source, split, digests, accept=True)
    assert "same IHC picture" in accepted
    assert "leaks were accepted" in capsys.readouterr().err
    assert refuse_leaks(random_source, split_of([0, 1, 2, 4], [3, 5]), digests, accept=False) == []


def test_training_refuses_a_patient_on_both_sides(random_source) -> None:
    digests = picture_digests(random_source)
    with pytest.raises(DataError, match=r"patient 0 is in train \(2 tiles\) and test \(1 tile\)"):
        refuse_leaks(random_source, split_of([0, 1], [2, 3]), digests, accept=False)
    refuse_leaks(random_source, split_of([0, 1, 2], [3, 4, 5]), digests, accept=False)


def test_many_leaks_are_counted() -> None:
    class Twice:
        renders = True
        tiles = tuple(Tile(f"{n}", 0, f"p{n % 30}") for n in range(60))

        def names(self, index: int) -> tuple[str, str]:
            return f"{index}", f"{index}"

    split = split_of(list(range(30)), list(range(30, 60)))
    with pytest.raises(DataError, match="and 20 more"):
        refuse_leaks(Twice(), split, picture_digests(Twice()), accept=False)


def test_rendered_tiles_are_not_read_to_be_compared(random_source) -> None:
    random_source.renders = True
    digests = picture_digests(random_source)
    refuse_leaks(random_source, split_of([0, 1, 2], [3, 4, 5]), digests, accept=False)
    assert random_source.readings == 0
