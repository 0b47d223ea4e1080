"""Intervals that respect what belongs together: slides, patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from napari_hmkd.bootstrap import NO_SPREAD, ClusterBootstrap, Estimate


def mean(clusters: Sequence, values: np.ndarray, counted: np.ndarray | None = None) -> Estimate:
    """The mean of those values that count."""
    bootstrap = ClusterBootstrap(clusters, "slide")
    counted = np.ones(len(values)) if counted is None else counted
    total, count = bootstrap.sums(np.stack([values * counted, counted], 1)).T
    with np.errstate(invalid="ignore"):
        return bootstrap.estimate(total / count, "undefined: nothing counts")


def test_the_first_weights_are_the_sample_and_each_draw_holds_as_many_clusters() -> None:
    bootstrap = ClusterBootstrap(["a", "a", "b", "c"], "slide", draws=50)
    assert bootstrap.clusters == 3
    assert bootstrap.weights.shape == (51, 3)
    np.testing.assert_array_equal(bootstrap.weights[0], 1)
    np.testing.assert_array_equal(bootstrap.weights.sum(1), 3)


def test_what_lies_in_a_cluster_is_drawn_together() -> None:
    sums = ClusterBootstrap(["a", "b", "a"], "slide").sums(np.array([1.0, 10.0, 100.0]))
    assert sums[0] == 111
    assert set(sums.tolist()) == {111.0, 202.0, 20.0}


def test_a_seed_makes_its_draws_whatever_the_order_of_the_items() -> None:
    values, clusters = np.arange(6.0), np.array(list("aabbcc"))
    order = np.random.default_rng(0).permutation(6)
    straight = ClusterBootstrap(clusters, "slide", seed=7).sums(values)
    turned = ClusterBootstrap(clusters[order], "slide", seed=7).sums(values[order])
    np.testing.assert_allclose(turned, straight)
    assert not np.allclose(ClusterBootstrap(clusters, "slide", seed=8).sums(values), straight)


def test_the_interval_of_a_mean_is_the_textbook_s() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    wanted = values.mean() + np.array([-1.96, 1.96]) * values.std() / 20
    assert mean(range(400), values).interval_95 == pytest.approx(wanted, abs=0.03)


def test_the_interval_widens_where_items_share_a_cluster_and_its_luck() -> None:
    right = np.repeat(np.random.default_rng(0).random(20) < 0.5, 20)
    narrow, wide = mean(range(400), right), mean(np.repeat(range(20), 20), right)
    assert narrow.value == wide.value
    assert np.ptp(wide.interval_95) > 2 * np.ptp(narrow.interval_95)


def of_capitals(clusters: str, share: float) -> Estimate:
    """A mean over the clusters in capital letters, the first share of which are right."""
    there = np.array([name.isupper() for name in clusters])
    return mean(clusters, np.cumsum(there) <= share * there.sum(), there)


def test_few_draws_in_which_a_number_is_undefined_are_left_out_and_counted() -> None:
    found = of_capitals("ABCde", 1 / 3)
    assert found.value == pytest.approx(1 / 3)
    assert found.interval_95 == (0, 1)
    assert 5 < found.undefined_draws < 45  # 1 % of the draws are d and e alone
    assert found.reason == ""


def test_an_interval_from_a_selection_of_the_draws_is_none() -> None:
    found = of_capitals("ABcde", 1 / 2)
    assert (found.value, found.interval_95) == (0.5, None)
    assert 100 < found.undefined_draws < 220  # 8 % of the draws
    assert found.reason == "no interval: undefined in 8 % of the draws, too few slides"


@pytest.mark.parametrize(
    ("clusters", "counted", "value", "reason"),
    [
        ("abcd", 1, 1.0, NO_SPREAD),
        ("aaaa", 1, 1.0, "no interval: one slide alone has none"),
        ("abcd", 0, None, "undefined: nothing counts"),
    ],
)
def test_a_missing_number_or_interval_has_its_reason(
    clusters: str, counted: int, value: float | None, reason: str
) -> None:
    found = mean(clusters, np.ones(4), np.full(4, counted))
    assert found == Estimate(value, None, reason)


def test_without_an_item_there_is_no_number() -> None:
    assert mean([], np.ones(0)) == Estimate(None, None, "undefined: nothing counts")
