from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")
pytest.importorskip("pytestqt", reason="needs pytest-qt")

from napari_hmkd.widgets.train_curves import TrainCurves, read_curves

pytestmark = pytest.mark.gui
HEAD = "epoch,step,train_loss,train_logits_kl,validation_kappa,waiting_share\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "Läufe 1" / "metrics.csv"


def write(table: Path, text: str) -> None:
    """Put a new file in its place, as training does."""
    table.parent.mkdir(exist_ok=True)
    part = table.with_suffix(".part")
    part.write_text(HEAD + text, encoding="utf-8")
    os.replace(part, table)


def lines(canvas: TrainCurves) -> dict[str, list[tuple[float, float]]]:
    found = [line for axes in (canvas.loss, canvas.kappa) for line in axes.lines]
    return {line.get_label(): [tuple(point) for point in line.get_xydata()] for line in found}


def test_the_curves_are_the_tables_points_and_follow_it(qtbot, table: Path) -> None:
    canvas = TrainCurves()
    qtbot.addWidget(canvas)
    canvas.show_run(table)
    assert lines(canvas) == {}
    write(table, "1,10,2.5,1.5,0.1,0.02\n")
    canvas.refresh()
    assert lines(canvas) == {
        "loss": [(1, 2.5)], "logits kl": [(1, 1.5)], "validation kappa": [(1, 0.1)],
    }  # fmt: skip
    write(table, "1,10,2.5,1.5,0.1,0.02\n2,20,1.25,0.5,0.75,0.01\n")
    canvas.refresh()
    assert lines(canvas)["loss"] == [(1, 2.5), (2, 1.25)]
    assert lines(canvas)["validation kappa"] == [(1, 0.1), (2, 0.75)]


def test_another_run_starts_with_empty_axes(qtbot, table: Path) -> None:
    canvas = TrainCurves()
    qtbot.addWidget(canvas)
    write(table, "1,10,2.5,1.5,0.1,0.02\n")
    canvas.show_run(table)
    assert lines(canvas)
    canvas.show_run(table.with_name("no such file.csv"))
    assert lines(canvas) == {}


@pytest.mark.parametrize(
    ("text", "epochs", "losses"),
    [
        ("", [], []),
        ("1,10,2.5,1.5,0.1,0\n2,20,", [1, 2], [2.5, np.nan]),
        ("1,10,2.5,1.5,,\n", [1], [2.5]),
    ],
    ids=["no row", "half a row", "empty cells"],
)
def test_a_table_is_read_at_any_moment(
    table: Path, text: str, epochs: list[int], losses: list[float]
) -> None:
    write(table, text)
    found = read_curves(table)
    np.testing.assert_array_equal(found.get("epoch", []), epochs)
    np.testing.assert_array_equal(found.get("train_loss", []), losses)


def test_no_table_is_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "metrics.csv") == {}
    assert read_curves(tmp_path) == {}
