from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="needs the napari extra")

from tests.widgets.pressing import PATIENCE_MS, each_step_shown, one_tile_at_a_time, press_and_wait

from napari_hmkd.cli.grade import main
from napari_hmkd.errors import SlideReadError
from napari_hmkd.export.folder import RESULTS
from napari_hmkd.grading import SlideGrading
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import grade_run
from napari_hmkd.widgets.grade_widget import GradeWidget
from napari_hmkd.widgets.notice import text_overlay
from napari_hmkd.widgets.pause import Pause
from napari_hmkd.widgets.viewing import (
    add_layers,
    camera,
    slide_of,
    state_pixel_size,
    to_level0,
    visible_region,
)

pytestmark = pytest.mark.gui
NOTICE = "trained on procedural tissue, not for real tissue, research use only"


def table(folder: Path) -> dict[tuple[int, int], np.ndarray]:
    with (folder / "tiles.csv").open(encoding="utf-8", newline="") as file:
        return {
            (int(r["row"]), int(r["column"])): np.array([float(r[f"p_{k}"]) for k in range(4)])
            for r in csv.DictReader(file)
        }


def test_button_and_command_line_give_the_same_table_of_a_real_slide(
    viewer, qtbot, shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "slides" / "cmu-1-small-region.svs"
    add_layers(viewer, read_slides(path))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert press_and_wait(widget, qtbot)
    layer = widget.run.heatmap_layer
    assert layer in viewer.layers

    with pytest.raises(SystemExit) as ended:
        main([str(path), "--out", str(tmp_path), "--fresh"])
    assert ended.value.code == 0
    rows = table(tmp_path / path.name)
    grading = widget.run.grading
    assert set(rows) == {tuple(tile) for tile in grading.plan.tiles.tolist()}
    for tile, probabilities in rows.items():
        np.testing.assert_allclose(grading.heatmap.probabilities[tile], probabilities, atol=2e-4)
        assert layer.data[tile] == pytest.approx(probabilities @ np.arange(4), abs=1e-3)


@pytest.mark.parametrize(
    "moved", [{}, {"translate": (300, -70)}, {"rotate": 30, "scale": (0.46, 0.46)}], ids=str
)
def test_heatmap_and_tissue_lie_over_the_slide(
    viewer, widget: GradeWidget, qtbot, moved: dict[str, object]
) -> None:
    slide_layer = widget.slide.value
    for name, value in moved.items():
        setattr(slide_layer, name, value)
    assert press_and_wait(widget, qtbot)
    heatmap, grid = widget.run.heatmap_layer, widget.run.grading.plan.grid
    tissue = widget.tissue.layer_of(slide_of(slide_layer))
    step = np.array(tissue.metadata["napari_hmkd"]["tissue"].downsample)
    for tile in [(0, 0), (1, 2)]:
        world = heatmap.data_to_world(tile)
        on_slide = np.asarray(slide_layer.world_to_data(world)) + 0.5
        np.testing.assert_allclose(on_slide, grid.centers([tile])[0], atol=1e-6)
        on_tissue = np.asarray(tissue.world_to_data(world)) + 0.5
        np.testing.assert_allclose(on_tissue * step, on_slide, atol=1e-6)


def test_stop_ends_within_a_batch_and_the_next_press_goes_on_from_there(
    widget: GradeWidget, qtbot, monkeypatch
) -> None:
    one_tile_at_a_time(monkeypatch)
    at_stop: list[int] = []

    def stop_once(tried: int, planned: int, speed: float) -> None:
        if tried >= 2 and not at_stop:
            at_stop.append(tried)
            widget.stop.native.click()

    widget.run.progressed.connect(stop_once)
    assert not press_and_wait(widget, qtbot)
    grading = widget.run.grading
    graded = int(grading.heatmap.graded.sum())
    assert at_stop[0] <= graded <= at_stop[0] + 3
    assert graded < len(grading.plan.tiles)
    assert widget.status.value.startswith("Stopped at")
    first = grading.heatmap.probabilities.copy()

    assert press_and_wait(widget, qtbot)
    assert widget.run.grading is grading
    assert len(grading.heatmap.remaining) == 0
    done = ~np.isnan(first)
    np.testing.assert_array_equal(grading.heatmap.probabilities[done], first[done])


def test_a_second_press_does_not_start_a_second_run(
    viewer, widget: GradeWidget, qtbot, monkeypatch
) -> None:
    started: list[object] = []
    plain = grade_run.start_grading
    monkeypatch.setattr(grade_run, "start_grading", lambda *a: started.append(a) or plain(*a))
    ended: list[bool] = []
    widget.run.ended.connect(ended.append)
    widget.grade()
    assert not widget.start.enabled
    widget.grade()
    qtbot.waitUntil(lambda: bool(ended), timeout=PATIENCE_MS)
    assert len(started) == 1
    kinds = [layer.name.split(" (")[0] for layer in viewer.layers]
    assert len(kinds) == len(set(kinds)), "one heatmap, one tissue"


def test_tiles_in_view_come_first_nearest_the_centre(
    viewer, widget: GradeWidget, qtbot, monkeypatch, show_window
) -> None:
    one_tile_at_a_time(monkeypatch)
    show_window()
    slide = slide_of(widget.slide.value)
    camera(viewer).zoom = 4
    camera(viewer).center = (900 * slide.mpp[0], 1300 * slide.mpp[1])
    qtbot.wait(200)
    focus, view = visible_region(viewer, widget.slide.value)
    np.testing.assert_allclose(focus, (900.5, 1300.5), atol=1)
    assert view.height < slide.size.height / 2
    order: list[list[int]] = []
    paint = widget.run._on_step
    monkeypatch.setattr(
        widget.run,
        "_on_step",
        lambda step: (paint(step), order.extend(getattr(step, "tiles", np.empty((0, 2))).tolist())),
    )
    assert press_and_wait(widget, qtbot)
    grid = widget.run.grading.plan.grid
    wanted = grid.nearest_first(widget.run.grading.plan.tiles, focus, view).tolist()
    assert order == wanted
    assert order[0] == list(grid.tile_at(*focus))


@pytest.mark.parametrize("which", ["slide", "heatmap"])
def test_removing_a_layer_ends_the_run(
    viewer, widget: GradeWidget, qtbot, monkeypatch, which: str
) -> None:
    each_step_shown(monkeypatch)

    held: list[SlideGrading] = []

    def remove(tried: int, planned: int, speed: float) -> None:
        widget.run.progressed.disconnect(remove)
        held.append(widget.run.grading)
        viewer.layers.remove(widget.slide.value if which == "slide" else widget.run.heatmap_layer)

    widget.run.progressed.connect(remove)
    assert not press_and_wait(widget, qtbot)
    assert not widget.run.running
    assert widget.start.enabled
    assert len(held[0].heatmap.remaining) > 0


def test_closing_the_window_ends_the_run(viewer, widget: GradeWidget, qtbot, monkeypatch) -> None:
    each_step_shown(monkeypatch)
    steps: list[int] = []
    widget.run.progressed.connect(lambda *a: steps.append(1))
    widget.grade()
    qtbot.waitUntil(lambda: bool(steps), timeout=PATIENCE_MS)
    worker, grading = widget.run._worker, widget.run.grading
    viewer.close()
    qtbot.waitUntil(lambda: not worker.is_running, timeout=PATIENCE_MS)
    assert len(grading.heatmap.remaining) > 0


def test_notice_and_legend_stay_on_screen(viewer, widget: GradeWidget, qtbot) -> None:
    assert widget.map.legend.native.isHidden(), "there is nothing to say yet"
    assert press_and_wait(widget, qtbot)
    assert text_overlay(viewer).visible
    assert text_overlay(viewer).text.replace("\n", " ") == NOTICE
    assert NOTICE in widget.notice.value
    for name in ("0", "1+", "2+", "3+"):
        assert name in widget.map.legend.value
    assert not widget.map.legend.native.isHidden()
    widget.map.opacity.value = 0.25
    assert widget.run.heatmap_layer.opacity == 0.25


def test_results_saved_from_the_widget_are_the_command_lines_files(
    widget: GradeWidget, qtbot, tmp_path: Path
) -> None:
    assert press_and_wait(widget, qtbot)
    widget.save_results(tmp_path)
    folder = tmp_path / "he.ome.tif"
    qtbot.waitUntil(lambda: widget.status.value.startswith("Saved"), timeout=PATIENCE_MS)
    assert {p.name for p in folder.iterdir()} == RESULTS.entries


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origin_px", "chosen"), [((0, 0), None), ((300, 70), None), ((300, 70), "file")], ids=str
)
def test_where_the_saved_geojson_counts_from_is_asked_where_only_a_part_was_scanned(
    widget: GradeWidget,
    qtbot,
    monkeypatch,
    tmp_path: Path,
    origin_px: tuple[int, int],
    chosen: str | None,
) -> None:
    monkeypatch.setattr(slide_of(widget.slide.value), "origin_px", origin_px)
    assert press_and_wait(widget, qtbot)
    assert widget.geojson_origin.native.isHidden() == (origin_px == (0, 0))
    if chosen:
        widget.geojson_origin.value = chosen
    widget.save_results(tmp_path)
    qtbot.waitUntil(lambda: widget.status.value.startswith("Saved"), timeout=PATIENCE_MS)
    written = (tmp_path / "he.ome.tif" / "tiles.geojson").read_text(encoding="ascii")
    collection = json.loads(written)
    assert collection["napari_hmkd"]["origin"] == (chosen or "slide")
    rings = [one["geometry"]["coordinates"][0] for one in collection["features"]]
    corner = np.vstack(rings).min(axis=0)  # (x, y)
    np.testing.assert_allclose(corner, origin_px[::-1] if chosen == "file" else (0, 0))


def test_a_missing_pixel_size_is_asked_for(viewer, qtbot, shared_data: Path) -> None:
    add_layers(viewer, read_slides(shared_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert widget.mpp.asked
    widget.grade()
    assert not widget.run.running
    assert "pixel size" in widget.status.value
    widget.mpp.value = 0.5001
    assert press_and_wait(widget, qtbot)
    assert tuple(widget.slide.value.scale[:2]) == (0.5001, 0.5001)
    assert widget.run.grading.plan.slide.mpp_source == "user"


def test_a_pixel_size_that_contradicts_itself_is_told_when_the_slide_is_chosen(
    viewer, tmp_path: Path
) -> None:
    pixels = np.full((256, 512, 3), 243, np.uint8)
    size = {"resolution": (1e4 / 0.15, 1e4 / 0.9), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(256, 256), **size)
    add_layers(viewer, read_slides(tmp_path / "a.tif"))
    assert "6 times as long one way" in GradeWidget(viewer).status.value


def test_a_slide_without_a_readable_tile_is_a_failure_not_done(
    widget: GradeWidget, qtbot, monkeypatch
) -> None:
    def broken(*_args: object) -> np.ndarray:
        raise SlideReadError("the disk went away")

    monkeypatch.setattr(slide_of(widget.slide.value), "read", broken)
    shown: list[str] = []
    widget.run.failed.connect(shown.append)
    with qtbot.captureExceptions():
        assert not press_and_wait(widget, qtbot)
    assert "the disk went away" in shown[0]
    assert "the disk went away" in widget.status.value
    assert np.nansum(widget.run.layers[-1].data) == len(widget.run.grading.heatmap.failed) > 0


def test_stating_the_pixel_size_keeps_what_is_on_screen(viewer, qtbot, shared_data: Path) -> None:
    add_layers(viewer, read_slides(shared_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"))
    layer = viewer.layers[0]
    camera(viewer).zoom, camera(viewer).center = 0.8, (900.0, 1200.0)
    before = to_level0(layer, camera(viewer).center[-2:])
    state_pixel_size(viewer, layer, 0.2527)
    assert to_level0(layer, camera(viewer).center[-2:]) == pytest.approx(before)
    assert camera(viewer).zoom * 0.2527 == pytest.approx(0.8)


def test_a_stated_pixel_size_is_no_other_slides_and_a_stopped_run_goes_on(
    viewer, qtbot, monkeypatch, shared_data: Path, pair, stop_early
) -> None:
    one_tile_at_a_time(monkeypatch)
    add_layers(viewer, read_slides(shared_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"))
    widget = GradeWidget(viewer)
    viewer.window.add_dock_widget(widget)
    unmeasured = widget.slide.value
    widget.mpp.value = 0.5
    stop_early(widget)
    assert not press_and_wait(widget, qtbot)
    grading = widget.run.grading
    assert press_and_wait(widget, qtbot)
    assert widget.run.grading is grading

    (measured,) = add_layers(viewer, read_slides(pair.he))
    widget.slide.value = measured
    assert not widget.mpp.asked
    widget.slide.value = unmeasured
    assert widget.mpp.value == 0.5


def test_the_heatmap_is_painted_after_a_pause_and_not_with_each_tile(
    widget: GradeWidget, qtbot, monkeypatch
) -> None:
    one_tile_at_a_time(monkeypatch)
    pause_s = 1.0  # in place of 0.1, which a tile takes, too
    monkeypatch.setattr(widget.run, "_repaint", Pause(round(1000 * pause_s), widget.run._paint))
    steps: list[float] = []
    paints: list[float] = []

    def count(*_args: object) -> None:
        steps.append(time.perf_counter())
        if len(steps) == 1:
            widget.run.heatmap_layer.events.data.connect(
                lambda _: paints.append(time.perf_counter())
            )

    widget.run.progressed.connect(count)
    assert press_and_wait(widget, qtbot)
    # The last paint does not wait its turn: the run is over.
    assert len(paints) >= 1
    # All together, as one that comes late on a busy machine is sooner followed by the next.
    assert paints[-1] - paints[0] > 0.8 * pause_s * (len(paints) - 2)


@pytest.fixture
def broken_driver(monkeypatch) -> None:
    def fail(*_args: object) -> None:
        raise RuntimeError("the driver went away")

    monkeypatch.setattr(grade_run, "start_grading", fail)


def test_a_failure_is_shown_and_the_button_is_free_again(
    widget: GradeWidget, qtbot, broken_driver: None
) -> None:
    with qtbot.captureExceptions():
        assert not press_and_wait(widget, qtbot)
    assert "driver went away" in widget.status.value
    assert widget.start.enabled
    assert not widget.run.running


def test_the_model_that_was_chosen_is_chosen_in_another_panel(
    viewer, widget: GradeWidget, student_file: Path
) -> None:
    widget.model.listed.value, widget.model.file.value = "from a file ...", student_file
    widget.native.parent().title.close_button.click()
    again = GradeWidget(viewer)
    viewer.window.add_dock_widget(again)
    assert again.model.name == str(student_file)
    assert not again.model.file.native.isHidden()
