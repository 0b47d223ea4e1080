"""What Predict biomarkers saves, which is what the command line writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.biomarkers import TILES, OpenPanel
from tests.widgets.pressing import PATIENCE_MS, press_and_wait

from napari_hmkd.cli.grade import main
from napari_hmkd.export.biomarkers import BIOMARKERS

pytestmark = pytest.mark.gui


def summary(folder: Path) -> dict:
    return json.loads((folder / "biomarkers.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_button_and_command_line_give_the_same_numbers_and_the_same_table(
    open_biomarkers: OpenPanel, qtbot, tmp_path: Path, biomarkers_file: Path, student_file: Path
) -> None:
    panel = open_biomarkers()
    assert press_and_wait(panel, qtbot)
    slide = panel.form.slide.chosen
    models = ["--model", str(biomarkers_file), "--encoder", str(student_file)]
    with pytest.raises(SystemExit) as ended:
        main(
            ["biomarkers", str(slide.path), *models, "--out", str(tmp_path / "command"), "--device", "cpu", "--fresh"]
        )  # fmt: skip
    assert ended.value.code == 0
    panel.save_results(tmp_path / "button")
    qtbot.waitUntil(lambda: panel.status.value.startswith("Saved"), timeout=PATIENCE_MS)

    by_command, by_button = (
        tmp_path / where / f"{slide.name}.biomarkers" for where in ("command", "button")
    )
    assert {path.name for path in by_button.iterdir()} == BIOMARKERS.entries
    assert summary(by_button)["targets"] == summary(by_command)["targets"]
    assert (by_button / "patches.csv").read_bytes() == (by_command / "patches.csv").read_bytes()
    for target in summary(by_command)["targets"]:
        for status, probability in target["probabilities"].items():
            row = f"{target['name']} {status}\n{probability:.3f}\n"
            assert row in panel.results.numbers.toPlainText()
    with (by_command / "patches.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    attention = panel.run.result.attention_map(panel.run.result.predictions[0])
    assert len(rows) == np.isfinite(attention).sum() == TILES
    for row in rows:
        found = attention[int(row["row"]), int(row["column"])]
        assert found == pytest.approx(TILES * float(row["attention_HER2"]), rel=1e-4)


@pytest.mark.usefixtures("undrawn_figures")
def test_where_the_saved_geojson_counts_from_is_asked_where_only_a_part_was_scanned(
    open_biomarkers: OpenPanel, qtbot, monkeypatch, tmp_path: Path
) -> None:
    panel = open_biomarkers()
    monkeypatch.setattr(panel.form.slide.chosen, "origin_px", (300, 70))
    assert panel.geojson_origin.native.isHidden()
    assert press_and_wait(panel, qtbot)
    assert not panel.geojson_origin.native.isHidden()
    panel.geojson_origin.value = "file"
    panel.save_results(tmp_path)
    qtbot.waitUntil(lambda: panel.status.value.startswith("Saved"), timeout=PATIENCE_MS)
    folder = tmp_path / f"{panel.form.slide.chosen.name}.biomarkers"
    written = json.loads((folder / "patches.geojson").read_text(encoding="ascii"))
    rings = [one["geometry"]["coordinates"][0] for one in written["features"]]
    np.testing.assert_allclose(np.vstack(rings).min(axis=0), (70, 300))  # (x, y)


@pytest.mark.usefixtures("undrawn_figures")
def test_saving_does_not_replace_the_results_of_a_namesake(
    open_biomarkers: OpenPanel, qtbot, tmp_path: Path
) -> None:
    panel = open_biomarkers()
    assert press_and_wait(panel, qtbot)

    def save() -> None:
        panel.save_results(tmp_path)
        qtbot.waitUntil(lambda: not panel.saving.running, timeout=PATIENCE_MS)

    save()
    assert panel.status.value.startswith("Saved")
    (summary,) = tmp_path.glob("*.biomarkers/biomarkers.json")
    about = json.loads(summary.read_text(encoding="utf-8"))
    about["slide"]["fingerprint"] = "of another file"
    summary.write_text(json.dumps(about), encoding="utf-8")
    save()
    assert "another slide of that name" in panel.status.value
    assert json.loads(summary.read_text(encoding="utf-8")) == about
