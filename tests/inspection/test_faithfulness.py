"""How far maps of a tile rank its tokens alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from napari_hmkd.bootstrap import ClusterBootstrap
from napari_hmkd.grading import OpenModel
from napari_hmkd.inspection.faithfulness import (
    CONSTANT,
    RECEIVED,
    Faithfulness,
    check_faithfulness,
    mean_correlations,
    rank_correlation,
)
from napari_hmkd.inspection.importance import Method, PartialImportance
from napari_hmkd.inspection.tile import Gaze, inspect_tile

RNG = np.random.default_rng(0)
HE = RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8)
A = RNG.random((8, 8))
LIKE_A = A + RNG.normal(0, 0.3, A.shape)
TIED = (4 * LIKE_A).round()


@pytest.mark.parametrize("b", [LIKE_A, TIED, -A, np.exp(9 * A), RNG.random((8, 8))])
def test_rho_is_scipys(b: np.ndarray) -> None:
    found = rank_correlation(A, b)
    assert found.rho == pytest.approx(spearmanr(A.ravel(), b.ravel()).statistic)
    assert found.n == 64


def test_the_mean_over_tiles_has_the_interval_of_drawing_tiles() -> None:
    others = [RNG.random((8, 8)) for _ in range(6)]
    each = [rank_correlation(A, b) for b in (*others, np.ones((8, 8)))]
    tiles = [Faithfulness(0, {}, {("a", "b"): one}) for one in each]
    rhos = np.array([one.rho for one in each[:-1]])
    draws = ClusterBootstrap(range(6), "tile").weights[1:]
    (mean,) = mean_correlations(tiles).values()
    assert (mean.rho, mean.n) == (pytest.approx(rhos.mean()), 6), "what is undefined does not count"
    assert [mean.low, mean.high] == pytest.approx(np.percentile(draws @ rhos / 6, [2.5, 97.5]))
    (alone,) = mean_correlations(tiles[:1]).values()
    assert (alone.rho, alone.low) == (each[0].rho, None)
    assert mean_correlations([]) == {}


@pytest.mark.parametrize("b", [LIKE_A, TIED])
def test_the_interval_is_that_of_drawing_blocks_of_four_tokens(b: np.ndarray) -> None:
    draws = ClusterBootstrap(list(np.ndindex(4, 4)), "block").weights[1:].astype(int)
    drawn = np.array([np.repeat(np.arange(16), times) for times in draws])
    x, y = (
        rankdata(blocks[drawn].reshape(len(drawn), -1), axis=1)
        for blocks in (one.reshape(4, 2, 4, 2).swapaxes(1, 2).reshape(16, 4) for one in (A, b))
    )
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    rho = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    found = rank_correlation(A, b)
    assert [found.low, found.high] == pytest.approx(np.percentile(rho, [2.5, 97.5]))


def test_tokens_like_their_neighbours_make_the_interval_wider() -> None:
    """Drawn one by one they would seem to tell as much as tokens that have nothing in common."""
    a, b = (np.kron(one[:4, :4], np.ones((2, 2))) for one in (A, LIKE_A))
    places = RNG.permutation(64)
    together = rank_correlation(a, b)
    apart = rank_correlation(*(one.ravel()[places].reshape(8, 8) for one in (a, b)))
    assert together.rho == pytest.approx(apart.rho)
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


@pytest.mark.parametrize(
    ("a", "b", "has_rho", "reason"),
    [
        (A, np.zeros_like(A), False, CONSTANT),
        (A[:2, :2], LIKE_A[:2, :2], True, "no interval: one block alone has none"),
        ((A == A.max()) * 1.0, A, True, "no interval: undefined in 3. % of the draws, too few"),
        (A, A, True, "no interval: the draws show no spread"),
    ],
)
def test_what_is_missing_is_said_in_words(
    a: np.ndarray, b: np.ndarray, has_rho: bool, reason: str
) -> None:
    found = rank_correlation(a, b)
    assert (found.rho is not None) == has_rho
    assert (found.low, found.high) == (None, None)
    assert re.match(reason, found.reason)
    assert found.reason in str(found)
    assert not has_rho or str(found).startswith(f"{found.rho:.2f} (")


def test_a_correlation_is_told_with_its_interval() -> None:
    found = rank_correlation(A, LIKE_A)
    assert found.low < found.rho < found.high
    assert str(found) == f"{found.rho:.2f} ({found.low:.2f} to {found.high:.2f})"


@pytest.mark.parametrize("b", [A[:4], np.where(A == A.max(), np.nan, A)])
def test_maps_that_cannot_be_compared_are_refused(b: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite and of one shape"):
        rank_correlation(A, b)


@pytest.mark.usefixtures("captum")
def test_every_two_maps_of_a_tile_are_compared_after_the_steps(student: OpenModel) -> None:
    inspection = inspect_tile(student, HE)
    *steps, last = check_faithfulness(student, HE, inspection, level=0)
    assert all(isinstance(step, PartialImportance) for step in steps)
    assert isinstance(last, Faithfulness)
    assert last.level == 0
    assert last.maps[RECEIVED] == pytest.approx(inspection.received(Gaze.STUDENT, 0))
    for method in Method:
        (*_, whole) = (step.tokens for step in steps if step.method is method)
        assert last.maps[method].tolist() == whole.tolist()
    assert set(last.correlations) == set(combinations(last.maps, 2))
    for (first, second), correlation in last.correlations.items():
        assert correlation == rank_correlation(last.maps[first], last.maps[second])


@pytest.mark.usefixtures("captum")
def test_importance_agrees_with_itself_whatever_attention_says(
    student: OpenModel, watching: Callable[..., OpenModel]
) -> None:
    """A network that answers by one square: both methods find it, attention knows nothing of it."""
    model = watching(lambda he: he[:, :, 32:64, 160:192].mean(dim=(1, 2, 3)))
    *_, last = check_faithfulness(model, HE, inspect_tile(student, HE), level=0)
    rho = {pair: correlation.rho for pair, correlation in last.correlations.items()}
    assert rho.pop((Method.GRADIENT, Method.OCCLUSION)) == pytest.approx(1)
    assert all(abs(other) < 0.5 for other in rho.values())


@pytest.mark.usefixtures("captum")
def test_with_a_network_that_always_says_the_same_nothing_can_be_compared(
    student: OpenModel, watching: Callable[..., OpenModel]
) -> None:
    model = watching(lambda he: torch.ones(len(he)))
    *_, last = check_faithfulness(model, HE, inspect_tile(student, HE), level=1)
    assert {str(correlation) for correlation in last.correlations.values()} == {CONSTANT}


@pytest.mark.usefixtures("captum")
def test_a_check_can_be_stopped_between_steps(
    student: OpenModel, watching: Callable[..., OpenModel]
) -> None:
    model = watching(lambda he: he.mean(dim=(1, 2, 3)))
    steps = check_faithfulness(model, HE, inspect_tile(student, HE), level=0)
    assert [next(steps).method for _ in range(2)] == [Method.GRADIENT, Method.OCCLUSION]
    runs = model.network.runs
    steps.close()
    assert next(steps, None) is None
    assert model.network.runs == runs
