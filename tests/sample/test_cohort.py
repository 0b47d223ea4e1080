from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from napari_hmkd.sample import Cohort, oracle_grades
from napari_hmkd.sample import cohort as module
from napari_hmkd.sample.cohort import placed_tiles, remember_placed

pytestmark = pytest.mark.slow


def quadratic_kappa(truth: np.ndarray, seen: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights, from its definition."""
    table = np.zeros((4, 4))
    np.add.at(table, (truth, seen), 1)
    weights = (np.arange(4)[:, None] - np.arange(4)) ** 2
    chance = np.outer(table.sum(1), table.sum(0)) / table.sum()
    return 1 - (weights * table).sum() / (weights * chance).sum()


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return Cohort(seed=77, patients=150, tiles_per_patient=2)


def test_an_oracle_that_knows_the_true_he_factors_reaches_a_kappa_of_070_to_085(
    cohort: Cohort,
) -> None:
    truth = np.array([record.grade for record in cohort.records])
    factors = np.array([record.factors for record in cohort.records])
    assert 0.70 <= quadratic_kappa(truth, oracle_grades(factors)) <= 0.85


def test_every_he_factor_rises_with_the_grade(cohort: Cohort) -> None:
    truth = np.array([record.grade for record in cohort.records])
    factors = np.array([record.factors for record in cohort.records])
    for factor in factors.T:
        assert spearmanr(factor, truth).statistic > 0.4


def test_all_grades_occur_and_no_tile_lacks_tumour(cohort: Cohort) -> None:
    counts = np.bincount([record.grade for record in cohort.records], minlength=4)
    assert counts.min() >= 0.08 * counts.sum()
    assert counts.sum() == 300


def test_the_slide_grade_is_not_always_the_tiles(cohort: Cohort) -> None:
    same = np.mean([record.grade == record.slide_grade for record in cohort.records])
    assert 0.4 < same < 0.8


def test_cohorts_are_reproducible_and_those_of_other_seeds_share_no_patient() -> None:
    records = [Cohort(seed, 2, 2).records for seed in (1, 1, 2)]
    assert records[0] == records[1]
    assert {r.factors for r in records[0]}.isdisjoint(r.factors for r in records[2])


def test_a_record_is_drawn_as_a_pair_of_its_cohorts_size() -> None:
    cohort = Cohort(3, patients=1, tiles_per_patient=1, tile_px=256, mpp=1.84)
    he, ihc = cohort.render(cohort.records[0])
    assert he.shape == ihc.shape == (256, 256, 3)
    assert he.dtype == ihc.dtype == np.uint8
    assert (he != ihc).mean() > 0.5


def test_patients_may_be_placed_in_any_way_and_are_placed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_placed", {})
    wanted = Cohort(seed=3, patients=3, tiles_per_patient=1, tile_px=256).records
    known = placed_tiles()
    monkeypatch.setattr(module, "_placed", {})

    def backwards(place, patients):
        return reversed([place(patient) for patient in reversed(patients)])

    assert Cohort(3, 3, 1, 256, spread=backwards).records == wanted
    monkeypatch.setattr(module, "_placed", {})
    remember_placed(known)
    monkeypatch.delattr(module, "_place_tiles")
    assert Cohort(3, 3, 1, 256).records == wanted
