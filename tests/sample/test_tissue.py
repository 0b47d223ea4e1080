from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_hmkd.geometry import Size
from napari_hmkd.sample import ProceduralTissue

SECTION_UM = (4000.0, 5000.0)
SIDE_UM = 471.0


@pytest.fixture(scope="module")
def tissue() -> ProceduralTissue:
    return ProceduralTissue(59, SECTION_UM)


def brown(ihc: np.ndarray) -> np.ndarray:
    """How much darker blue is than red, as DAB makes it."""
    density = -np.log(np.maximum(ihc.astype(float), 1) / 243)
    return density[..., 2] - density[..., 0]


@pytest.mark.parametrize("stain", ["he", "ihc"])
@pytest.mark.parametrize("mpp", [0.25, 0.46, 0.92])
def test_a_region_looks_the_same_drawn_alone_or_as_part_of_a_larger_one(
    tissue: ProceduralTissue, stain: str, mpp: float
) -> None:
    whole = tissue.render(stain, (1500.0, 2000.0), Size(128, 160), mpp)
    part = tissue.render(stain, (1500 + 40 * mpp, 2000 + 32 * mpp), Size(50, 60), mpp)
    np.testing.assert_array_equal(part, whole[40:90, 32:92])


def test_the_same_seed_draws_the_same_tissue_and_another_seed_does_not() -> None:
    size, mpp = Size(64, 64), 0.92
    first, again, other = (
        ProceduralTissue(seed, SECTION_UM).render("he", (2000, 2000), size, mpp)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_coarse_drawing_agrees_with_a_finer_one_averaged(tissue: ProceduralTissue) -> None:
    for stain in ("he", "ihc"):
        coarse = tissue.render(stain, (1500, 2000), Size(128, 128), 0.92).astype(float)
        fine = tissue.render(stain, (1500, 2000), Size(256, 256), 0.46)
        mean = fine.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
        assert np.abs(coarse - mean).mean() < 6


def test_both_stains_show_the_same_nuclei(tissue: ProceduralTissue) -> None:
    he, ihc = tissue.render_pair((1500, 2000), Size(256, 256), 0.5)
    shift_of_best_match = []
    for shift in (-8, 0, 8):
        red = gaussian_filter(np.roll(he[..., 0], shift, axis=1).astype(float), 1)
        shift_of_best_match.append(np.corrcoef(red.ravel(), ihc[..., 0].ravel())[0, 1])
    assert np.argmax(shift_of_best_match) == 1
    assert shift_of_best_match[1] > 0.5


def test_tissue_is_surrounded_by_glass(tissue: ProceduralTissue) -> None:
    corner = tissue.render("he", (0, 0), Size(32, 32), 2.0)
    middle = tissue.render("he", (2000, 2500), Size(32, 32), 2.0)
    assert corner.min() > 230
    assert middle.mean() < 215


@pytest.mark.slow
def test_a_slide_has_regions_of_several_grades_and_its_ihc_is_browner_where_the_grade_is_higher(
    tissue: ProceduralTissue,
) -> None:
    rows, columns = (int(np.ceil(extent / SIDE_UM)) for extent in tissue.size_um)
    places = np.ndindex(rows, columns)
    truths = [tissue.truth((r * SIDE_UM, c * SIDE_UM), SIDE_UM).grade for r, c in places]
    grades = np.reshape(truths, (rows, columns))
    assert grades.shape == (9, 11)
    assert {0, 1, 2, 3} <= set(grades.ravel().tolist())
    browner = []
    for grade in range(4):
        tiles = np.argwhere(grades == grade)[:6]
        images = [
            tissue.render("ihc", tuple(tile * SIDE_UM), Size(128, 128), SIDE_UM / 128)
            for tile in tiles
        ]
        browner.append(np.mean([np.maximum(brown(i), 0).mean() for i in images]))
    assert browner == sorted(browner)


def test_truth_counts_tumour_cells_only(tissue: ProceduralTissue) -> None:
    glass = tissue.truth((0, 0), 50.0)
    assert glass.grade == -1
    assert glass.tumour_share == 0
    assert np.isnan(glass.factors).all()
    cells = tissue.cells((1500, 2000), (500, 500))
    assert cells.staining[~cells.is_tumour & (cells.zone != 2)].max(initial=0) == 0
