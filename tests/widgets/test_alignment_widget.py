"""The panel that lays an IHC over its H&E, in a window with two painted slides."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari", reason="needs the napari extra")

from qtpy.QtWidgets import QFileDialog
from scipy import ndimage
from tests.widgets.aligning import (
    CLOSE_UM,
    PLACES_UM,
    TRUTH,
    apart_um,
    dock,
    finish,
    on_ihc,
    set_landmarks,
    world_of,
)

from napari_hmkd.alignment import Alignment, Method, align_by_matrix, load_alignment
from napari_hmkd.errors import AlignmentError
from napari_hmkd.reader import read_slides
from napari_hmkd.widgets import alignment_run
from napari_hmkd.widgets.viewing import add_layers

pytestmark = pytest.mark.gui


def test_what_is_found_automatically_is_applied_and_told(aligner, qtbot, finds_truth) -> None:
    aligner.automatic.native.click()
    assert (aligner.automatic.enabled, aligner.stop.enabled) == (False, True)
    finish(aligner, qtbot)
    assert apart_um(aligner) < CLOSE_UM
    assert "3.20 um" in aligner.status.value
    assert "2.5 times better" in aligner.status.value
    assert (aligner.automatic.enabled, aligner.stop.enabled) == (True, False)


def test_a_refusal_is_shown_with_its_numbers_and_leaves_the_layer_where_it_was(
    aligner, qtbot, monkeypatch
) -> None:
    def refuse(_he, _ihc) -> Alignment:
        raise AlignmentError("the textures correlate with 0.12 at best")

    monkeypatch.setattr(alignment_run, "align_automatically", refuse)
    aligner.ihc.value.affine = moved = [[1, 0, 40], [0, 1, -7], [0, 0, 1]]
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    assert aligner.status.value == "the textures correlate with 0.12 at best"
    np.testing.assert_array_equal(aligner.ihc.value.affine.affine_matrix, moved)
    aligner.undo.native.click()
    assert aligner.status.value == "Nothing to undo."


def test_what_was_stopped_moves_nothing_and_another_way_can_be_tried(
    aligner, monkeypatch, qtbot
) -> None:
    wait, done = Event(), Event()

    def find(he, ihc) -> Alignment:
        wait.wait(20)
        done.set()
        return align_by_matrix(he, ihc, TRUTH @ TRUTH)

    monkeypatch.setattr(alignment_run, "align_automatically", find)
    aligner.automatic.native.click()
    aligner.stop.native.click()
    assert aligner.automatic.enabled
    set_landmarks(aligner, PLACES_UM, on_ihc(PLACES_UM))
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    wait.set()
    qtbot.waitUntil(done.is_set)
    qtbot.wait(100)
    assert apart_um(aligner) < CLOSE_UM


@pytest.mark.parametrize("removed", ["he.tif", "ihc.tif"])
def test_a_layer_that_is_removed_meanwhile_is_told(
    viewer, aligner, qtbot, finds_truth, removed: str
) -> None:
    ihc = aligner.ihc.value
    before = ihc.affine.affine_matrix.copy()
    aligner.automatic.native.click()
    viewer.layers.remove(removed)
    finish(aligner, qtbot)
    assert "removed" in aligner.status.value
    np.testing.assert_array_equal(ihc.affine.affine_matrix, before)


def test_undo_goes_back_step_by_step_and_not_to_layers_that_are_gone(
    viewer, aligner, qtbot, finds_truth
) -> None:
    ihc = aligner.ihc.value
    steps = [ihc.affine.affine_matrix.copy()]
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    steps.append(ihc.affine.affine_matrix.copy())
    aligner.he.value.translate = (500, 500)
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    assert not np.allclose(ihc.affine.affine_matrix, steps[1])
    for step in reversed(steps):
        aligner.undo.native.click()
        np.testing.assert_array_equal(ihc.affine.affine_matrix, step)
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    viewer.layers.remove(ihc)
    aligner.undo.native.click()
    assert aligner.status.value == "Nothing to undo."


def test_a_saved_alignment_is_restored_by_loading_it(
    viewer, aligner, qtbot, finds_truth, monkeypatch, tmp_path: Path
) -> None:
    file = tmp_path / "results" / "alignment.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(file), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    aligner.save.native.click()
    finish(aligner, qtbot)
    assert aligner.status.value == f"Saved to {file}"
    aligner.undo.native.click()
    assert apart_um(aligner) > 10
    aligner.load.native.click()
    finish(aligner, qtbot)
    assert apart_um(aligner) < CLOSE_UM
    kept = load_alignment(file, aligner.he.chosen, aligner.ihc.chosen)
    assert (kept.method, kept.residual_um, kept.score) == (Method.AUTOMATIC, 3.2, 2.5)


def test_an_ihc_that_was_moved_by_hand_is_saved_as_it_lies(
    aligner, qtbot, finds_truth, tmp_path: Path
) -> None:
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    aligner.ihc.value.translate = (0, 60)
    aligner.he.value.translate = (-30, 0)
    aligner.save_alignment(tmp_path / "by hand.json")
    finish(aligner, qtbot)
    kept = load_alignment(tmp_path / "by hand.json", aligner.he.chosen, aligner.ihc.chosen)
    assert (kept.method, kept.residual_um) == (Method.GIVEN, None)
    np.testing.assert_allclose(
        world_of(aligner.ihc.value, kept.to_ihc(PLACES_UM)),
        world_of(aligner.he.value, PLACES_UM),
        atol=CLOSE_UM,
    )


def test_an_alignment_of_other_slides_is_refused(
    aligner, qtbot, finds_truth, tmp_path: Path
) -> None:
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    aligner.save_alignment(tmp_path / "one.json")
    finish(aligner, qtbot)
    before = [layer.affine.affine_matrix.copy() for layer in (aligner.he.value, aligner.ihc.value)]
    aligner.he.value, aligner.ihc.value = aligner.ihc.value, aligner.he.value
    aligner.load_alignment(tmp_path / "one.json")
    finish(aligner, qtbot)
    assert "aligns another H&E" in aligner.status.value
    now = [layer.affine.affine_matrix for layer in (aligner.ihc.value, aligner.he.value)]
    np.testing.assert_array_equal(now, before)


def test_the_slider_shows_the_he_through_the_ihc_whatever_their_order(viewer, aligner) -> None:
    he, ihc = aligner.he.value, aligner.ihc.value
    ihc.visible = False
    assert viewer.layers.index(ihc) < viewer.layers.index(he)
    aligner.opacity.value = 0.3
    assert viewer.layers.index(ihc) > viewer.layers.index(he)
    assert (ihc.visible, ihc.opacity, he.opacity) == (True, pytest.approx(0.3), 1)


ASKED = ("automatic", "mark", "by_landmarks", "save", "load")


@pytest.mark.parametrize("missing", ["IHC", "another IHC", "slides"])
def test_without_two_slides_it_says_what_to_open(viewer, aligner, missing: str) -> None:
    if missing == "slides":
        viewer.layers.clear()
    else:
        aligner.ihc.value = None if missing == "IHC" else aligner.he.value
    aligner.opacity.value = 0.5
    for button in ASKED:
        aligner.status.value = ""
        getattr(aligner, button).native.click()
        assert "choose" in aligner.status.value
        assert not aligner.run.running


def test_without_a_pixel_size_it_says_how_to_state_one(viewer, aligner, without_pixel_size) -> None:
    add_layers(viewer, read_slides(without_pixel_size))
    aligner.ihc.value = viewer.layers[without_pixel_size.name]
    for button in ASKED:
        aligner.status.value = ""
        getattr(aligner, button).native.click()
        assert "pixel size" in aligner.status.value
        assert not aligner.run.running
    assert not [one for one in viewer.layers if one.name.startswith("landmarks")]


@pytest.mark.slow
def test_an_ihc_that_is_the_he_turned_and_shifted_is_found(
    viewer, pair, tmp_path: Path, qtbot
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
    finish(panel, qtbot)
    assert panel.status.value.startswith("Aligned (automatic)"), panel.status.value
    assert apart_um(panel) < 10
