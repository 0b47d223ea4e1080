"""Drawn slides show the factors they should, and only them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")

from napari_hmkd.training.mkd.cohort.design import CohortDesign
from napari_hmkd.training.mkd.cohort.factors import Factors
from napari_hmkd.training.mkd.cohort.tissue import LEAST_TISSUE, Section, draw_patient

DESIGN = CohortDesign()
ROWS, COLUMNS = np.meshgrid(np.arange(30), np.arange(30), indexing="ij")


def looks(hidden: tuple[float, float, float], shown: tuple[float, float]) -> np.ndarray:
    """Mean over regions of radius, variation, chromatin and mitotic share."""
    factors = Factors(np.array([hidden]), np.array([shown]))
    return draw_patient(DESIGN, factors, 0).region_factors(ROWS, COLUMNS).mean((0, 1))


def test_each_shown_factor_moves_its_own_looks_by_the_stated_slope() -> None:
    plain = looks((0, 0, 0), (0, 0))
    shared, pathology = looks((1, 0, 0), (1, 0)) - plain, looks((0, 1, 0), (0, 1)) - plain
    assert shared == pytest.approx(DESIGN.looks_slopes[0], abs=0.01)
    assert pathology == pytest.approx(DESIGN.looks_slopes[1], abs=0.01)
    assert plain == pytest.approx(DESIGN.looks_base, rel=0.05)


def test_what_only_genes_show_leaves_every_pixel_as_it_is() -> None:
    sections = [
        Section(draw_patient(DESIGN, Factors(np.array([[0, 0, g]]), np.zeros((1, 2))), 0), 64, 2.0)
        for g in (0.0, 3.0)
    ]
    corners = sections[0].places(2)
    assert np.array_equal(corners, sections[1].places(2))
    for plain, other in zip(*(section.tiles(corners) for section in sections), strict=True):
        assert np.array_equal(plain, other)


def test_shown_factors_change_pixels() -> None:
    first, second = (
        Section(draw_patient(DESIGN, Factors(np.zeros((1, 3)), np.array([[s, 0.0]])), 0), 64, 1.0)
        for s in (-2.0, 2.0)
    )
    corners = first.places(4)
    pairs = zip(first.tiles(corners), second.tiles(corners), strict=True)
    assert max(np.abs(a.astype(int) - b).mean() for a, b in pairs) > 2


def test_tiles_are_distinct_places_of_one_grid_that_hold_tissue() -> None:
    section = Section(
        draw_patient(DESIGN, Factors(np.zeros((1, 3)), np.zeros((1, 2))), 0), 256, 2.0
    )
    corners = section.places(40)
    assert len(corners) == len(set(map(tuple, corners))) == 40
    assert (corners % 256 == 0).all()
    assert np.array_equal(corners, np.array(sorted(map(tuple, corners))))
    glass = [
        (tile.min(axis=2) > 235).mean() for tile in section.tiles(corners[:: len(corners) // 4])
    ]
    assert max(glass) <= 1 - LEAST_TISSUE + 0.15
    assert len(section.places(10_000)) < 11 * 11
