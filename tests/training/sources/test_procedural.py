"""The drawn cohort as a source."""

from __future__ import annotations

import pytest

from napari_hmkd.sample import cohort
from napari_hmkd.training.config import CohortSettings, Labels
from napari_hmkd.training.sources import procedural
from napari_hmkd.training.sources.procedural import ProceduralSource


def test_many_patients_are_placed_beside_each_other_with_the_same_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spreads: list[str] = []

    def in_processes(*given):
        spreads.append("processes")
        return found(*given)

    found = procedural._in_processes
    monkeypatch.setattr(procedural, "_in_processes", in_processes)
    tiles = []
    for many in (3, 2):
        monkeypatch.setattr(procedural, "MANY_PATIENTS", many)
        monkeypatch.setattr(cohort, "_placed", {})
        settings = CohortSettings(seed=5, patients=2, tiles_per_patient=2, tile_px=256)
        tiles.append(ProceduralSource(settings, Labels.TILE).tiles)
    assert spreads == ["processes"]
    assert tiles[0] == tiles[1]
    assert {tile.patient for tile in tiles[0]} == {"seed5-patient0", "seed5-patient1"}
