"""What a map from H&E to IHC may be, and where it takes a place."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hmkd.alignment import Alignment, Method, align_by_matrix
from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide
from napari_hmkd.slide.fingerprint import fingerprint

SHEARED = np.array([(0.9, 0.1, 40.0), (-0.2, 1.1, -30.0), (0.0, 0.0, 1.0)])


@pytest.mark.parametrize("matrix", [SHEARED, SHEARED[:2], SHEARED.tolist()])
def test_a_given_matrix_takes_places_in_um_from_he_to_ihc(
    he_slide: Slide, ihc_slide: Slide, matrix: np.ndarray
) -> None:
    alignment = align_by_matrix(he_slide, ihc_slide, matrix)
    assert alignment.method == Method.GIVEN
    assert alignment.residual_um is alignment.score is None
    assert np.array_equal(alignment.affine, SHEARED)
    assert np.allclose(alignment.to_ihc((100.0, 200.0)), (150.0, 170.0))
    many = alignment.to_ihc(np.array([[(0.0, 0.0), (100.0, 200.0)]]))
    assert np.allclose(many, [[(40.0, -30.0), (150.0, 170.0)]])


def test_an_alignment_names_its_slides_and_cannot_be_changed(
    he_slide: Slide, ihc_slide: Slide
) -> None:
    alignment = align_by_matrix(he_slide, ihc_slide, np.eye(3))
    assert alignment.he_fingerprint == fingerprint(he_slide)
    assert alignment.ihc_fingerprint == fingerprint(ihc_slide)
    with pytest.raises(ValueError, match="read-only"):
        alignment.affine[0, 0] = 2


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(2), r"shape \(2, 2\)"),
        (np.full((3, 3), np.nan), "finite"),
        (np.array([(1, 0, 0), (0, 1, 0), (0, 0.1, 1)]), r"last row is \[0\.0, 0\.1, 1\.0\]"),
        (np.zeros((2, 3)), "scales by 0 to 0, and tissue by 0.5 to 2"),
        (np.array([(1, 1, 0), (1, 1, 0)]), "scales by .* to 2, and tissue"),
        (np.diag((2.3, 2.3, 1)), "scales by 2.3 to 2.3"),
        (np.diag((0.25, 0.25, 1)), "scales by 0.25 to 0.25"),
        (np.diag((1, -1, 1)), r"mirrors \(its determinant is -1\)"),
        (np.array([(0, 1, 0), (1, 0, 0)]), r"mirrors .* given as \(x, y\)"),
    ],
)
def test_a_matrix_that_no_section_follows_is_refused_with_numbers(
    matrix: np.ndarray, message: str
) -> None:
    with pytest.raises(AlignmentError, match=message):
        Alignment(matrix, Method.GIVEN, "he", "ihc", (0.5, 0.5), (0.5, 0.5))
