"""What each side can know of a drawn patient is what the design says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra `train`")
from sklearn.metrics import roc_auc_score

from napari_hmkd.training.mkd.cohort.design import FACTORS, CohortDesign
from napari_hmkd.training.mkd.cohort.expression import draw_expression, plan_genes
from napari_hmkd.training.mkd.cohort.factors import (
    VIEWS,
    Factors,
    draw_factors,
    draw_labels,
    oracle_scores,
)

DESIGN = CohortDesign(patients=4000, genes=512, module_genes=48)


@pytest.fixture(scope="module")
def factors() -> Factors:
    return draw_factors(DESIGN)


def test_factors_are_independent_standard_normals(factors: Factors) -> None:
    assert np.cov(factors.hidden.T) == pytest.approx(np.eye(3), abs=0.06)
    assert factors.hidden.mean(0) == pytest.approx(np.zeros(3), abs=0.06)


def test_tissue_shows_two_of_them_with_the_stated_error(factors: Factors) -> None:
    error = factors.shown - factors.hidden[:, :2]
    assert error.std(0) == pytest.approx(np.full(2, DESIGN.patient_noise), rel=0.05)
    assert abs(np.corrcoef(error[:, 0], factors.hidden[:, 0])[0, 1]) < 0.05


def test_genes_correlate_with_the_factor_of_their_module_as_stated(factors: Factors) -> None:
    plan, expression = plan_genes(DESIGN), draw_expression(DESIGN, factors)
    for module, factor in enumerate(("shared", "genomic")):
        genes = plan.module == module
        assert genes.sum() == DESIGN.module_genes
        assert (np.abs(plan.loading[genes]) >= DESIGN.loadings[0]).all()
        column = factors.hidden[:, FACTORS.index(factor)]
        found = [np.corrcoef(values, column)[0, 1] for values in expression[:, genes].T]
        assert found == pytest.approx(plan.loading[genes], abs=0.06)
        others = [np.corrcoef(values, column)[0, 1] for values in expression[:, ~genes].T]
        assert np.abs(others).max() < 0.08


def test_what_only_the_tissue_shows_leaves_genes_unchanged(factors: Factors) -> None:
    other = factors.hidden.copy()
    other[:, FACTORS.index("pathology")] += 3
    shown = replace(factors, hidden=other, shown=factors.shown + 3)
    assert np.array_equal(draw_expression(DESIGN, shown), draw_expression(DESIGN, factors))


@pytest.mark.parametrize("target", DESIGN.targets, ids=lambda target: target.name)
def test_labels_follow_the_stated_logits(factors: Factors, target) -> None:
    labels = draw_labels(DESIGN, factors)[:, DESIGN.targets.index(target)]
    logits = factors.hidden @ np.array(target.weights) + target.intercept
    for low, high in ((-2.5, -1), (-0.5, 0.5), (1, 2.5)):
        within = (logits > low) & (logits < high)
        expected = (1 / (1 + np.exp(-logits[within]))).mean()
        assert labels[within].mean() == pytest.approx(expected, abs=0.06)


def test_both_sides_know_more_than_each(factors: Factors) -> None:
    labels = draw_labels(DESIGN, factors)
    for column, target in enumerate(DESIGN.targets):
        auc = {
            view: roc_auc_score(labels[:, column], oracle_scores(DESIGN, factors, target, view))
            for view in VIEWS
        }
        assert auc["both"] > max(auc["pathology"], auc["genes"]) > 0.6, target.name


def test_the_oracle_of_one_side_is_the_best_line_through_what_it_sees(factors: Factors) -> None:
    target = DESIGN.targets[0]
    logits = factors.hidden @ np.array(target.weights)
    seen = {
        "pathology": factors.shown,
        "genes": factors.hidden[:, [0, 2]],
        "both": np.column_stack((factors.hidden[:, [0, 2]], factors.shown[:, 1])),
    }
    for view, columns in seen.items():
        fitted = columns @ np.linalg.lstsq(columns, logits, rcond=None)[0]
        oracle = oracle_scores(DESIGN, factors, target, view)  # type: ignore[arg-type]
        assert np.corrcoef(fitted, oracle)[0, 1] > 0.999


def test_a_patient_is_the_same_in_a_larger_cohort() -> None:
    small, large = (replace(DESIGN, patients=count) for count in (3, 7))
    few, many = draw_factors(small), draw_factors(large)
    assert np.array_equal(few.hidden, many.hidden[:3])
    assert np.array_equal(draw_labels(small, few), draw_labels(large, many)[:3])
    assert np.array_equal(draw_expression(small, few), draw_expression(large, many)[:3])


def test_cohorts_of_two_seeds_share_no_patient() -> None:
    first, second = (draw_factors(replace(DESIGN, seed=seed)).hidden for seed in (1, 2))
    assert np.abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.06
