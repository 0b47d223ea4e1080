"""What DATA can be, decided by looking."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_hmkd.errors import DataError
from napari_hmkd.training.config import CohortSettings, DataSettings, Labels
from napari_hmkd.training.sources.opening import open_source, resolve_labels

COHORT = CohortSettings(patients=2, tiles_per_patient=2, tile_px=256)


def kind(data: Path | str, mpp: float | None = 0.5) -> str:
    return open_source(str(data), COHORT, DataSettings(mpp=mpp)).training_data


def test_each_kind_is_told_by_what_is_there(bci_folder, mist_folder, manifest) -> None:
    assert "BCI layout" in kind(bci_folder())
    assert "MIST layout" in kind(mist_folder(train=1))
    assert "MIST layout" in kind(mist_folder(test=1))
    assert "manifest" in kind(manifest(["he,ihc", "he/0.png,ihc/0.png"]))
    assert "procedural" in kind("procedural", None)


@pytest.mark.parametrize(
    ("folders", "found"),
    [((), "are none"), (("HE",), "are HE"), (("trainA", "valB"), "are trainA, valB")],
)
def test_another_folder_is_refused_and_told_what_was_expected(
    tmp_path: Path, folders: tuple[str, ...], found: str
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{found}: expected .*HE and IHC.*trainA and trainB.*CSV"):
        kind(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not here is no folder and no file: expected"):
        kind(tmp_path / "not here")


def test_a_folder_s_grades_are_the_slide_s(bci_folder, mist_folder) -> None:
    for folder in (bci_folder(), mist_folder(train=1)):
        assert resolve_labels(str(folder), None) is Labels.SLIDE


def test_procedural_tiles_have_their_own_truth() -> None:
    assert resolve_labels("procedural", None) is Labels.TILE
    assert resolve_labels("procedural", Labels.SLIDE) is Labels.SLIDE


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan"), float("inf")])
def test_an_impossible_pixel_size_is_refused(mpp: float) -> None:
    with pytest.raises(DataError, match="um/px above 0"):
        kind("procedural", mpp)


def test_equal_pixels_have_one_identity_and_changed_ones_another(bci_folder) -> None:
    folder = bci_folder()
    sources = [open_source(str(folder), COHORT, DataSettings()) for _ in range(2)]
    picture = folder / "HE/train/00000_train_0.png"
    picture.write_bytes((folder / "HE/train/00001_train_1+.png").read_bytes() + b"\0")
    changed = open_source(str(folder), COHORT, DataSettings())
    assert sources[0].identity == sources[1].identity != changed.identity
