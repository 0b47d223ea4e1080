"""Landmarks that are clicked in pairs in Align IHC, and what an IHC is laid by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs the napari extra")

from napari.layers import Points
from tests.widgets.aligning import (
    CLOSE_UM,
    PLACES_UM,
    apart_um,
    finish,
    on_ihc,
    set_landmarks,
    world_of,
)

from napari_hmkd.reader import read_slides
from napari_hmkd.widgets.aligned_layers import LayerPair
from napari_hmkd.widgets.landmark_layers import LandmarkLayers
from napari_hmkd.widgets.viewing import add_layers, state_pixel_size

pytestmark = pytest.mark.gui


MOVES = {
    "as opened": {},
    "H&E moved": {"he": {"translate": (700, -300)}},
    "H&E turned": {"he": {"affine": [[0, -1, 2000], [1, 0, -400], [0, 0, 1]]}},
    "IHC moved and turned before": {"ihc": {"translate": (-90, 55), "rotate": 20}},
}


@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES)
def test_by_landmarks_a_place_of_the_ihc_lies_on_its_partner(aligner, qtbot, moves: dict) -> None:
    for name, move in moves.items():
        for what, value in move.items():
            setattr(getattr(aligner, name).value, what, value)
    he_before = world_of(aligner.he.value, PLACES_UM)
    set_landmarks(aligner, PLACES_UM, on_ihc(PLACES_UM))
    assert apart_um(aligner) > 10
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    assert apart_um(aligner) < CLOSE_UM
    np.testing.assert_array_equal(world_of(aligner.he.value, PLACES_UM), he_before)
    assert aligner.he.value.visible
    assert aligner.ihc.value.visible


def test_the_landmarks_of_the_ihc_go_along_and_lie_on_those_of_the_he(aligner, qtbot) -> None:
    set_landmarks(aligner, PLACES_UM, on_ihc(PLACES_UM))
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    he, ihc = (aligner.landmarks.layer_of(choice.value) for choice in (aligner.he, aligner.ihc))
    marked_he, marked_ihc = (
        np.array([layer.data_to_world(point) for point in layer.data]) for layer in (he, ihc)
    )
    np.testing.assert_allclose(marked_ihc, marked_he, atol=CLOSE_UM)
    assert (he.visible, ihc.visible) == (True, True)


def test_residuals_are_shown_in_um_of_all_and_of_each_pair(aligner, qtbot) -> None:
    he_um, ihc_um = PLACES_UM, on_ihc(PLACES_UM)
    ihc_um[1] += (24.0, 0.0)
    set_landmarks(aligner, he_um, ihc_um)
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    pair = LayerPair(aligner.he.value, aligner.ihc.value)
    off = np.linalg.norm(aligner.aligned.alignment_of(pair).to_ihc(he_um) - ihc_um, axis=1)
    rms = np.sqrt(np.mean(off**2))
    assert 2 < rms < 12, "a part of the 24 um that one pair is off"
    assert f"Residual (root mean square): {rms:.2f} um" in aligner.status.value
    each = ", ".join(f"{number}: {one:.2f}" for number, one in enumerate(off, start=1))
    assert f"in um: {each}." in aligner.residuals.value
    aligner.undo.native.click()
    assert aligner.residuals.value == ""


def test_a_refused_fit_is_not_beside_the_residuals_of_the_one_before(aligner, qtbot) -> None:
    set_landmarks(aligner, PLACES_UM, on_ihc(PLACES_UM))
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    assert "in um: 1: 0.00" in aligner.residuals.value
    layer = aligner.landmarks.layer_of(aligner.ihc.value)
    layer.data = layer.data[[2, 1, 0, 3]]
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    assert "whether each pair of landmarks is of one place" in aligner.status.value
    assert aligner.residuals.value == ""


def test_landmarks_are_numbered_in_pairs_also_after_one_was_removed(aligner) -> None:
    set_landmarks(aligner, PLACES_UM, on_ihc(PLACES_UM))
    layer = aligner.landmarks.layer_of(aligner.ihc.value)
    assert list(layer.text.values) == ["1", "2", "3", "4"]
    layer.selected_data = {1}
    layer.remove_selected()
    assert list(layer.text.values) == ["1", "2", "3"]
    np.testing.assert_allclose(
        aligner.landmarks.positions_um(aligner.ihc.value), on_ihc(PLACES_UM)[[0, 2, 3]]
    )


def test_marking_turns_to_the_slide_with_fewer_landmarks_and_hides_the_other(
    viewer, aligner
) -> None:
    he, ihc = aligner.he.value, aligner.ihc.value
    aligner.mark.native.click()
    layer = viewer.layers.selection.active
    assert (layer, layer.mode) == (aligner.landmarks.layer_of(he), "add")
    assert (he.visible, ihc.visible) == (True, False)
    layer.add((5, 5))
    aligner.mark.native.click()
    assert viewer.layers.selection.active is aligner.landmarks.layer_of(ihc)
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
    aligner, qtbot, finds_truth
) -> None:
    set_landmarks(aligner, PLACES_UM, on_ihc(PLACES_UM)[:3])
    before = aligner.ihc.value.affine.affine_matrix.copy()
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    assert "4 on the H&E and 3 on the IHC: set the same number on both" in aligner.status.value
    np.testing.assert_array_equal(aligner.ihc.value.affine.affine_matrix, before)
    aligner.automatic.native.click()
    finish(aligner, qtbot)
    assert apart_um(aligner) < CLOSE_UM
    assert aligner.residuals.value == ""


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_of_landmarks_that_fit_whatever_they_are_no_pair_is_called_the_worst(
    aligner, qtbot, pairs: int
) -> None:
    set_landmarks(aligner, PLACES_UM[:pairs], on_ihc(PLACES_UM)[:pairs])
    aligner.by_landmarks.native.click()
    finish(aligner, qtbot)
    assert "so few landmarks fit any map" in aligner.status.value
    assert aligner.residuals.value == ""


def test_a_duplicate_takes_the_place_of_landmarks_that_were_removed(viewer, aligner) -> None:
    set_landmarks(aligner, PLACES_UM[:2], on_ihc(PLACES_UM)[:2])
    layer = aligner.landmarks.layer_of(aligner.he.value)
    viewer.add_layer(Points.create(*layer.as_layer_data_tuple()))
    viewer.layers.remove(layer)
    aligner.mark.native.click()
    duplicate = aligner.landmarks.layer_of(aligner.he.value)
    duplicate.add((5, 5))
    assert list(duplicate.text.values) == ["1", "2", "3"]
