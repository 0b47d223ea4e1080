"""predictions.csv: whole, exact, and refused when it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.scores.predictions import (
    Predictions,
    read_predictions,
    write_predictions,
)


@pytest.fixture
def written(tmp_path: Path, graded, card) -> Path:
    tiles, logits = graded(8)
    path = tmp_path / "Lauf 1 ä.csv"
    answers = {"student": Predictions.of_network(logits, card)}
    write_predictions(path, tiles, answers, "test")
    return path


def test_what_is_written_is_read(tmp_path: Path, graded, card) -> None:
    tiles, logits = graded(12)
    tiles[3] = replace(tiles[3], grade=None, patient=None)
    network = Predictions.of_network(logits, card)
    oracle = Predictions(np.arange(12) % 4)
    path = tmp_path / "predictions.csv"
    write_predictions(path, tiles, {"oracle": oracle, "ein Netz, groß": network}, "validation")
    read, answers = read_predictions(path)
    assert read == [replace(tile, part="validation") for tile in tiles]
    assert list(answers) == ["oracle", "ein Netz, groß"]
    found = answers["ein Netz, groß"]
    np.testing.assert_array_equal(found.logits.astype(np.float32), logits)
    np.testing.assert_array_equal(found.probabilities, network.probabilities)
    np.testing.assert_array_equal(found.sets, network.sets)
    np.testing.assert_array_equal(found.grades, logits.argmax(1))
    assert answers["oracle"].logits is answers["oracle"].sets is None


def test_probabilities_have_the_card_s_temperature_and_sets_its_thresholds(graded, card) -> None:
    _, logits = graded(5)
    found = Predictions.of_network(logits, card)
    exponents = np.exp(logits.astype(float) / 2.0)
    wanted = exponents / exponents.sum(1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, wanted)
    np.testing.assert_array_equal(found.sets, wanted >= [0.2, 0.25, 0.3, 0.0])
    bare = Predictions.of_network(logits, replace(card, conformal_thresholds=()))
    assert bare.sets is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"leer.predictions\.csv cannot be read"):
        read_predictions(tmp_path / "leer" / "predictions.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tile,patient", "picture,patient", "line 1 must read tile,patient,label"),
        ("Gewebe 002,Ä2,2,", "Gewebe 002,Ä2,7,", "line 4: grades are 0 to 3"),
        ("Gewebe 002,Ä2,2,", "Gewebe 002,Ä2,two,", "line 4: invalid literal"),
        ("Gewebe 002", "Gewebe 001", "student has two lines for Gewebe 001"),
        ("Gewebe 005,Ä5,1,test,student", "Gewebe 005,Ä5,1,test,teacher", "is cut"),
    ],
)
def test_a_spoiled_line_is_named(written: Path, old: str, new: str, message: str) -> None:
    text = written.read_text(encoding="utf-8")
    assert text.count(old) == 1
    written.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_predictions(written)


@pytest.mark.parametrize(
    ("keep", "message"), [(0, "line 1 must read"), (1, "holds no predictions"), (5.5, "line 6")]
)
def test_a_cut_file_is_refused(written: Path, keep: float, message: str) -> None:
    lines = written.read_text(encoding="utf-8").splitlines(keepends=True)
    rest = lines[int(keep)][:40] if keep % 1 else ""
    written.write_text("".join(lines[: int(keep)]) + rest, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_predictions(written)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, graded, card) -> None:
    tiles, logits = graded(4)
    with pytest.raises(OutputError, match="cannot be written"):
        write_predictions(
            tmp_path / "no folder" / "predictions.csv",
            tiles,
            {"student": Predictions.of_network(logits, card)},
            "test",
        )
