"""The panel that lays an IHC over its H&E, in a window with two painted slides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtWidgets import QFileDialog
from scipy import ndimage

from napari_hmkd.alignment import Alignment, Method, align_by_matrix, load_alignment
from napari_hmkd.errors import AlignmentError
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import alignment_run
from napari_hmkd.widgets.aligned_layers import LayerPair
from napari_hmkd.widgets.alignment_widget import AlignmentWidget
from napari_hmkd.widgets.landmark_layers import LandmarkLayers
from napari_hmkd.widgets.viewing import add_layers, slide_of, state_pixel_size

pytestmark = pytest.mark.gui
TURN = np.deg2rad(7)
TRUTH = np.array(  # um on the H&E to um on the IHC
    [[np.cos(TURN), -np.sin(TURN), 310.0], [np.sin(TURN), np.cos(TURN), -85.0], [0, 0, 1]]
)
PLACES_UM = np.array([(300.0, 400.0), (1500.0, 700.0), (900.0, 2300.0), (1800.0, 2500.0)])
CLOSE_UM = 0.01


def on_ihc(places_um: np.ndarray) -> np.ndarray:
    return places_um @ TRUTH[:2, :2].T + TRUTH[:2, 2]


@pytest.fixture
def panel(viewer, paint_slide: Callable[..., Path], tmp_path: Path) -> AlignmentWidget:
    he = paint_slide(tmp_path / "he.tif", [[0, 1, 2], [3, 0, 1]])
    ihc = paint_slide(tmp_path / "ihc.tif", [[3, 2, 1, 2], [0, 3, 2, 1]])
    add_layers(viewer, read_slides(ihc) + read_slides(he))
    return dock(viewer)


def dock(viewer) -> AlignmentWidget:
    panel = AlignmentWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Align IHC")
    panel.he.value, panel.ihc.value = viewer.layers["he.tif"], viewer.layers["ihc.tif"]
    return panel


@pytest.fixture
def finish(qtbot) -> Callable[[AlignmentWidget], None]:
    return lambda panel: qtbot.waitUntil(lambda: not panel.run.running, timeout=20_000)


@pytest.fixture
def finds_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(he, ihc) -> Alignment:
        return align_by_matrix(he, ihc, TRUTH, Method.AUTOMATIC, residual_um=3.2, score=2.5)

    monkeypatch.setattr(alignment_run, "align_automatically", find)


def world_of(layer, places_um: np.ndarray) -> np.ndarray:
    """Where a slide's layer shows places of its slide: napari puts 0 at a pixel's middle."""
    mpp = slide_of(layer).mpp
    return np.array([layer.data_to_world(place) for place in places_um / mpp - 0.5])


def apart_um(panel: AlignmentWidget) -> float:
    """How far places of the H&E are from their partners on the IHC, in the window."""
    he, ihc = panel.he.value, panel.ihc.value
    off = world_of(he, PLACES_UM) - world_of(ihc, on_ihc(PLACES_UM))
    return float(np.abs(off).max())


def set_landmarks(panel: AlignmentWidget, he_um: np.ndarray, ihc_um: np.ndarray) -> None:
    """Add points as clicks do, by their world positions."""
    panel.mark.native.click()
    for slide_layer, places_um in ((panel.he.value, he_um), (panel.ihc.value, ihc_um)):
        layer = panel.landmarks.layer_of(slide_layer)
        for world in world_of(slide_layer, places_um):
            layer.add(layer.world_to_data(world))


MOVES = {
    "as opened": {},
    "H&E moved": {"he": {"translate": (700, -300)}},
    "H&E turned": {"he": {"affine": [[0, -1, 2000], [1, 0, -400], [0, 0, 1]]}},
    "IHC moved and turned before": {"ihc": {"translate": (-90, 55), "rotate": 20}},
}


@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES)
def test_by_landmarks_a_place_of_the_ihc_lies_on_its_partner(panel, finish, moves: dict) -> None:
    for name, move in moves.items():
        for what, value in move.items():
            setattr(getattr(panel, name).value, what, value)
    he_before = world_of(panel.he.value, PLACES_UM)
    set_landmarks(panel, PLACES_UM, on_ihc(PLACES_UM))
    assert apart_um(panel) > 10
    panel.by_landmarks.native.click()
    finish(panel)
    assert apart_um(panel) < CLOSE_UM
    np.testing.assert_array_equal(world_of(panel.he.value, PLACES_UM), he_before)
    assert panel.he.value.visible
    assert panel.ihc.value.visible


def test_the_landmarks_of_the_ihc_go_along_and_lie_on_those_of_the_he(panel, finish) -> None:
    set_landmarks(panel, PLACES_UM, on_ihc(PLACES_UM))
    panel.by_landmarks.native.click()
    finish(panel)
    he, ihc = (panel.landmarks.layer_of(choice.value) for choice in (panel.he, panel.ihc))
    marked_he, marked_ihc = (
        np.array([layer.data_to_world(point) for point in layer.data]) for layer in (he, ihc)
    )
    np.testing.assert_allclose(marked_ihc, marked_he, atol=CLOSE_UM)
    assert (he.visible, ihc.visible) == (True, True)


def test_residuals_are_shown_in_um_of_all_and_of_each_pair(panel, finish) -> None:
    he_um, ihc_um = PLACES_UM, on_ihc(PLACES_UM)
    ihc_um[1] += (24.0, 0.0)
    set_landmarks(panel, he_um, ihc_um)
    panel.by_landmarks.native.click()
    finish(panel)
    pair = LayerPair(panel.he.value, panel.ihc.value)
    off = np.linalg.norm(panel.aligned.alignment_of(pair).to_ihc(he_um) - ihc_um, axis=1)
    rms = np.sqrt(np.mean(off**2))
    assert 2 < rms < 12, "a part of the 24 um that one pair is off"
    assert f"Residual (root mean square): {rms:.2f} um" in panel.status.value
    each = ", ".join(f"{number}: {one:.2f}" for number, one in enumerate(off, start=1))
    assert f"in um: {each}." in panel.residuals.value
    panel.undo.native.click()
    assert panel.residuals.value == ""


def test_landmarks_are_numbered_in_pairs_also_after_one_was_removed(panel) -> None:
    set_landmarks(panel, PLACES_UM, on_ihc(PLACES_UM))
    layer = panel.landmarks.layer_of(panel.ihc.value)
    assert list(layer.text.values) == ["1", "2", "3", "4"]
    layer.selected_data = {1}
    layer.remove_selected()
    assert list(layer.text.values) == ["1", "2", "3"]
    np.testing.assert_allclose(
        panel.landmarks.positions_um(panel.ihc.value), on_ihc(PLACES_UM)[[0, 2, 3]]
    )


def test_marking_turns_to_the_slide_with_fewer_landmarks_and_hides_the_other(viewer, panel) -> None:
    he, ihc = panel.he.value, panel.ihc.value
    panel.mark.native.click()
    layer = viewer.layers.selection.active
    assert (layer, layer.mode) == (panel.landmarks.layer_of(he), "add")
    assert (he.visible, ihc.visible) == (True, False)
    layer.add((5, 5))
    panel.mark.native.click()
    assert viewer.layers.selection.active is panel.landmarks.layer_of(ihc)
    assert (he.visible, ihc.visible) == (False, True)
    assert len([one for one in viewer.layers if one.name.startswith("landmarks")]) == 2


def test_landmarks_stay_on_their_places_when_another_pixel_size_is_stated(
    viewer, without_pixel_size: Path, paint_slide, tmp_path: Path
) -> None:
    ihc = paint_slide(tmp_path / "ihc.tif", [[3, 2, 1, 2], [0, 3, 2, 1]])
    add_layers(viewer, read_slides(ihc) + read_slides(without_pixel_size))
    he_layer, ihc_layer = viewer.layers[without_pixel_size.name], viewer.layers["ihc.tif"]
    state_pixel_size(viewer, he_layer, 2.0)
    landmarks, pair = LandmarkLayers(viewer), LayerPair(he_layer, ihc_layer)
    landmarks.mark(pair, hide_other=True)
    layer, places_px = landmarks.layer_of(he_layer), [(40.0, 70.0), (300.0, 500.0)]
    for number, mpp in enumerate((2.0, 4.0)):
        state_pixel_size(viewer, he_layer, mpp)
        landmarks.mark(pair, hide_other=True)
        layer.add(layer.world_to_data(he_layer.data_to_world(places_px[number])))
        shown = [he_layer.world_to_data(layer.data_to_world(one)) for one in layer.data]
        np.testing.assert_allclose(shown, places_px[: number + 1], atol=1e-6)
    found_um = landmarks.positions_um(he_layer)
    np.testing.assert_allclose(found_um, (np.array(places_px) + 0.5) * 4.0, atol=1e-5)


def test_landmarks_that_are_no_pairs_are_refused_in_words_and_bar_no_other_way(
    panel, finish, finds_truth
) -> None:
    set_landmarks(panel, PLACES_UM, on_ihc(PLACES_UM)[:3])
    before = panel.ihc.value.affine.affine_matrix.copy()
    panel.by_landmarks.native.click()
    finish(panel)
    assert "4 on the H&E and 3 on the IHC: set the same number on both" in panel.status.value
    np.testing.assert_array_equal(panel.ihc.value.affine.affine_matrix, before)
    panel.automatic.native.click()
    finish(panel)
    assert apart_um(panel) < CLOSE_UM
    assert panel.residuals.value == ""


def test_what_is_found_automatically_is_applied_and_told(panel, finish, finds_truth) -> None:
    panel.automatic.native.click()
    assert (panel.automatic.enabled, panel.stop.enabled) == (False, True)
    finish(panel)
    assert apart_um(panel) < CLOSE_UM
    assert "3.20 um" in panel.status.value
    assert "2.5 times better" in panel.status.value
    assert (panel.automatic.enabled, panel.stop.enabled) == (True, False)


def test_a_refusal_is_shown_with_its_numbers_and_leaves_the_layer_where_it_was(
    panel, finish, monkeypatch
) -> None:
    def refuse(_he, _ihc) -> Alignment:
        raise AlignmentError("the textures correlate with 0.12 at best")

    monkeypatch.setattr(alignment_run, "align_automatically", refuse)
    panel.ihc.value.affine = moved = [[1, 0, 40], [0, 1, -7], [0, 0, 1]]
    panel.automatic.native.click()
    finish(panel)
    assert panel.status.value == "the textures correlate with 0.12 at best"
    np.testing.assert_array_equal(panel.ihc.value.affine.affine_matrix, moved)
    panel.undo.native.click()
    assert panel.status.value == "Nothing to undo."


def test_what_was_stopped_moves_nothing_and_another_way_can_be_tried(
    panel, finish, monkeypatch, qtbot
) -> None:
    wait, done = Event(), Event()

    def find(he, ihc) -> Alignment:
        wait.wait(20)
        done.set()
        return align_by_matrix(he, ihc, TRUTH @ TRUTH)

    monkeypatch.setattr(alignment_run, "align_automatically", find)
    panel.automatic.native.click()
    panel.stop.native.click()
    assert panel.automatic.enabled
    set_landmarks(panel, PLACES_UM, on_ihc(PLACES_UM))
    panel.by_landmarks.native.click()
    finish(panel)
    wait.set()
    qtbot.waitUntil(done.is_set)
    qtbot.wait(100)
    assert apart_um(panel) < CLOSE_UM


@pytest.mark.parametrize("removed", ["he.tif", "ihc.tif"])
def test_a_layer_that_is_removed_meanwhile_is_told(
    viewer, panel, finish, finds_truth, removed: str
) -> None:
    ihc = panel.ihc.value
    before = ihc.affine.affine_matrix.copy()
    panel.automatic.native.click()
    viewer.layers.remove(removed)
    finish(panel)
    assert "removed" in panel.status.value
    np.testing.assert_array_equal(ihc.affine.affine_matrix, before)


def test_undo_goes_back_step_by_step_and_not_to_layers_that_are_gone(
    viewer, panel, finish, finds_truth
) -> None:
    ihc = panel.ihc.value
    steps = [ihc.affine.affine_matrix.copy()]
    panel.automatic.native.click()
    finish(panel)
    steps.append(ihc.affine.affine_matrix.copy())
    panel.he.value.translate = (500, 500)
    panel.automatic.native.click()
    finish(panel)
    assert not np.allclose(ihc.affine.affine_matrix, steps[1])
    for step in reversed(steps):
        panel.undo.native.click()
        np.testing.assert_array_equal(ihc.affine.affine_matrix, step)
    panel.automatic.native.click()
    finish(panel)
    viewer.layers.remove(ihc)
    panel.undo.native.click()
    assert panel.status.value == "Nothing to undo."


def test_a_saved_alignment_is_restored_by_loading_it(
    viewer, panel, finish, finds_truth, monkeypatch, tmp_path: Path
) -> None:
    file = tmp_path / "results" / "alignment.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(file), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    panel.automatic.native.click()
    finish(panel)
    panel.save.native.click()
    finish(panel)
    assert panel.status.value == f"Saved to {file}"
    panel.undo.native.click()
    assert apart_um(panel) > 10
    panel.load.native.click()
    finish(panel)
    assert apart_um(panel) < CLOSE_UM
    kept = load_alignment(file, panel.he.chosen, panel.ihc.chosen)
    assert (kept.method, kept.residual_um, kept.score) == (Method.AUTOMATIC, 3.2, 2.5)


def test_an_ihc_that_was_moved_by_hand_is_saved_as_it_lies(
    panel, finish, finds_truth, tmp_path: Path
) -> None:
    panel.automatic.native.click()
    finish(panel)
    panel.ihc.value.translate = (0, 60)
    panel.he.value.translate = (-30, 0)
    panel.save_alignment(tmp_path / "by hand.json")
    finish(panel)
    kept = load_alignment(tmp_path / "by hand.json", panel.he.chosen, panel.ihc.chosen)
    assert (kept.method, kept.residual_um) == (Method.GIVEN, None)
    np.testing.assert_allclose(
        world_of(panel.ihc.value, kept.to_ihc(PLACES_UM)),
        world_of(panel.he.value, PLACES_UM),
        atol=CLOSE_UM,
    )


def test_an_alignment_of_other_slides_is_refused(
    panel, finish, finds_truth, tmp_path: Path
) -> None:
    panel.automatic.native.click()
    finish(panel)
    panel.save_alignment(tmp_path / "one.json")
    finish(panel)
    before = [layer.affine.affine_matrix.copy() for layer in (panel.he.value, panel.ihc.value)]
    panel.he.value, panel.ihc.value = panel.ihc.value, panel.he.value
    panel.load_alignment(tmp_path / "one.json")
    finish(panel)
    assert "aligns another H&E" in panel.status.value
    now = [layer.affine.affine_matrix for layer in (panel.ihc.value, panel.he.value)]
    np.testing.assert_array_equal(now, before)


def test_the_slider_shows_the_he_through_the_ihc_whatever_their_order(viewer, panel) -> None:
    he, ihc = panel.he.value, panel.ihc.value
    ihc.visible = False
    assert viewer.layers.index(ihc) < viewer.layers.index(he)
    panel.opacity.value = 0.3
    assert viewer.layers.index(ihc) > viewer.layers.index(he)
    assert (ihc.visible, ihc.opacity, he.opacity) == (True, pytest.approx(0.3), 1)


ASKED = ("automatic", "mark", "by_landmarks", "save", "load")


@pytest.mark.parametrize("missing", ["IHC", "another IHC", "slides"])
def test_without_two_slides_it_says_what_to_open(viewer, panel, missing: str) -> None:
    if missing == "slides":
        viewer.layers.clear()
    else:
        panel.ihc.value = None if missing == "IHC" else panel.he.value
    panel.opacity.value = 0.5
    for button in ASKED:
        panel.status.value = ""
        getattr(panel, button).native.click()
        assert "choose" in panel.status.value
        assert not panel.run.running


def test_without_a_pixel_size_it_says_how_to_state_one(viewer, panel, without_pixel_size) -> None:
    add_layers(viewer, read_slides(without_pixel_size))
    panel.ihc.value = viewer.layers[without_pixel_size.name]
    for button in ASKED:
        panel.status.value = ""
        getattr(panel, button).native.click()
        assert "pixel size" in panel.status.value
        assert not panel.run.running
    assert not [one for one in viewer.layers if one.name.startswith("landmarks")]


@pytest.mark.slow
def test_an_ihc_that_is_the_he_turned_and_shifted_is_found(
    viewer, pair, tmp_path: Path, finish
) -> None:
    he_mpp, ihc_mpp = 3.68, 4.0
    drawn = tifffile.imread(pair.ihc)
    small = drawn[: drawn.shape[0] // 4 * 4, : drawn.shape[1] // 4 * 4].astype(float)
    small = small.reshape(small.shape[0] // 4, 4, small.shape[1] // 4, 4, 3).mean(axis=(1, 3))
    to_he = np.linalg.inv(TRUTH)
    linear = to_he[:2, :2] * ihc_mpp / he_mpp
    offset = (to_he[:2, :2] @ (ihc_mpp / 2, ihc_mpp / 2) + to_he[:2, 2]) / he_mpp - 0.5
    turned = [
        ndimage.affine_transform(plane, linear, offset, (480, 600), order=1, cval=243)
        for plane in np.moveaxis(small, -1, 0)
    ]
    tifffile.imwrite(
        tmp_path / "ihc.tif",
        np.stack(turned, axis=-1).astype(np.uint8),
        photometric="rgb",
        tile=(256, 256),
        resolution=(2_500, 2_500),
        resolutionunit="CENTIMETER",
    )
    add_layers(viewer, read_slides(pair.he) + read_slides(tmp_path / "ihc.tif"))
    viewer.layers[0].name = "he.tif"
    panel = dock(viewer)
    panel.automatic.native.click()
    finish(panel)
    assert panel.status.value.startswith("Aligned (automatic)"), panel.status.value
    assert apart_um(panel) < 10
