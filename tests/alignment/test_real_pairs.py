"""Alignment of scanned tissue: neighbouring sections, and BCI's pairs of tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.alignment.sections import tissue_um

from napari_hmkd.alignment import align_automatically, align_by_matrix, refine_at
from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide, open_slide

PATIENTS = ("00007_test_1+", "00011_test_3+", "00118_test_0", "00249_test_2+")
# 0.47 mm is little to tell all angles by: of one tile's IHC the texture is clear enough.
CLEAR = {"00011_test_3+"}
FAINT = {"00249_test_2+"}  # hardly a nucleus is to be seen in its IHC
BCI_MPP = 0.46
MIDDLE_PX = (512.0, 512.0)

OpenPair = Callable[[str, str], tuple[Slide, Slide]]


@pytest.fixture
def open_pair(shared_data: Path, write_slide: Callable[..., Slide]) -> OpenPair:
    """Tiles of two patients, of 0.47 mm, as slides."""

    def read(stain: str, patient: str) -> Slide:
        path = shared_data / "bci_pairs" / stain / "test" / f"{patient}.png"
        return write_slide(f"{stain} {patient}.tif", np.asarray(Image.open(path)), BCI_MPP)

    return lambda he, ihc: (read("HE", he), read("IHC", ihc))


@pytest.fixture
def neighbours(shared_data: Path) -> Iterator[tuple[Slide, Slide]]:
    """Two sections of one block, cut one after the other."""
    slides = shared_data / "slides"
    with (
        open_slide(slides / "her2st_C2.ome.tif", mpp=0.69) as one,
        open_slide(slides / "her2st_C3_generic.tif", mpp=0.69) as next_one,
    ):
        yield one, next_one


@pytest.mark.slow
def test_the_next_section_lies_the_same_way_from_both_sides(
    neighbours: tuple[Slide, Slide],
) -> None:
    one, next_one = neighbours
    there, back = align_automatically(one, next_one), align_automatically(next_one, one)
    places = tissue_um(one)
    apart_um = np.linalg.norm(back.to_ihc(there.to_ihc(places)) - places, axis=1)
    assert np.median(apart_um) < 50
    assert (
        10 < there.residual_um < 100
    )  # other cells in another bend: it is not fitted better than that


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_registered_tile_is_found_where_it_lies_or_refused(
    open_pair: OpenPair, patient: str
) -> None:
    he, ihc = open_pair(patient, patient)
    if patient not in CLEAR:
        with pytest.raises(AlignmentError, match="do not look like the same tissue"):
            align_automatically(he, ihc)
        return
    places = tissue_um(he)
    found = align_automatically(he, ihc)
    assert np.median(np.linalg.norm(found.to_ihc(places) - places, axis=1)) < 10


@pytest.mark.parametrize("patient", [patient for patient in PATIENTS if patient not in FAINT])
@pytest.mark.parametrize("off_um", [(0.0, 0.0), (20.0, -15.0), (-33.0, 28.0)])
def test_a_tile_is_moved_back_to_where_it_is_registered(
    open_pair: OpenPair, patient: str, off_um: tuple[float, float]
) -> None:
    he, ihc = open_pair(patient, patient)
    shifted = align_by_matrix(he, ihc, np.column_stack([np.eye(2), off_um]))
    assert np.allclose(refine_at(shifted, he, ihc, MIDDLE_PX).affine, np.eye(3), atol=1)


@pytest.mark.parametrize(("of_he", "of_ihc"), list(permutations(PATIENTS, 2))[::2])
def test_tiles_of_different_patients_are_neither_aligned_nor_moved(
    open_pair: OpenPair, of_he: str, of_ihc: str
) -> None:
    he, ihc = open_pair(of_he, of_ihc)
    with pytest.raises(AlignmentError, match="do not look like the same tissue"):
        align_automatically(he, ihc)
    given = align_by_matrix(he, ihc, np.eye(3))
    assert refine_at(given, he, ihc, MIDDLE_PX) is given
