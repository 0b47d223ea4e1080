"""The demo networks looked into on real, registered pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.grading import open_model
from napari_hmkd.inspection.maps import kinds_of, tokens_of
from napari_hmkd.inspection.tile import LEVELS, inspect_tile


@pytest.mark.parametrize("number", range(4))
def test_maps_and_losses_of_a_real_pair_belong_together(shared_data: Path, number: int) -> None:
    he_file = sorted((shared_data / "bci_pairs" / "HE").rglob("*.png"))[number]
    student, teacher = open_model("demo"), open_model("demo-teacher", "teacher")
    side = student.card.tile_px
    he, ihc = (
        np.asarray(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BOX))
        for path in (he_file, Path(str(he_file).replace("/HE/", "/IHC/")))
    )
    inspection = inspect_tile(student, he, teacher, ihc)
    for level in LEVELS:
        loss = inspection.losses[f"attention {level}"]
        assert inspection.discrepancy(level).sum() == pytest.approx(loss, rel=1e-5)
        assert 2 - 2 * inspection.agreement(level) == pytest.approx(loss, abs=1e-5)
        for kind in kinds_of(inspection):
            assert np.isfinite(tokens_of(inspection, kind, level)).all()
    blank = inspect_tile(student, he, teacher, np.full_like(ihc, 255))
    assert inspection.probabilities[1] != pytest.approx(blank.probabilities[1], abs=1e-3)
