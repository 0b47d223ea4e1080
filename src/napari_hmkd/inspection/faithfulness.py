"""Whether a student's received attention tells what its answer hangs on, and how surely one knows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from napari_hmkd.bootstrap import ClusterBootstrap, Floats
from napari_hmkd.grade_tables import ratio
from napari_hmkd.grading import OpenModel
from napari_hmkd.inspection.importance import Method, PartialImportance, measure_importance
from napari_hmkd.inspection.tile import Gaze, TileInspection

RECEIVED = "received attention"
CONSTANT = "undefined: one of the maps is the same everywhere"
_BLOCK = 2


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's correlation of two maps, or its mean over tiles.

    Attributes
    ----------
    rho : float or None
        From -1 to 1; None where it is undefined.
    low, high : float or None
        Its 95 % interval; None where there is none.
    n : int
        Tokens, or tiles of a mean.
    reason : str
        Why `rho` or its interval is missing; empty where both are there.
    """

    rho: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""

    def __str__(self) -> str:
        """In words, for a table or a label."""
        if self.rho is None:
            return self.reason
        if self.low is None:
            return f"{self.rho:.2f} ({self.reason})"
        return f"{self.rho:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """The maps of a tile that should tell the same, if attention were importance.

    Attributes
    ----------
    level : int
        Whose tokens: 0, 1 or 2.
    maps : mapping
        From `RECEIVED` and each `Method` to the student's map, float32 (g, g), not negative.
    correlations : mapping
        From each two of these names to how far their maps rank tokens alike.
    """

    level: int
    maps: Mapping[str, np.ndarray]
    correlations: Mapping[tuple[str, str], RankCorrelation]


def check_faithfulness(
    student: OpenModel, he: np.ndarray, inspection: TileInspection, level: int
) -> Generator[PartialImportance | Faithfulness, None, None]:
    """Measure a tile's importance by every method and compare; close the iterator to stop.

    Parameters
    ----------
    student : OpenModel
    he : numpy.ndarray
        uint8 (tile_px, tile_px, 3).
    inspection : TileInspection
        What `inspect_tile` says of this student and tile.
    level : int
        0, 1 or 2; the cost is that of `measure_importance`.

    Yields
    ------
    PartialImportance or Faithfulness
        The latter once, at the end.

    Raises
    ------
    ModelError, DeviceError, HmkdError
        As `measure_importance` does.
    """
    maps: dict[str, np.ndarray] = {RECEIVED: inspection.received(Gaze.STUDENT, level)}
    for method in Method:  # the gradient is the quick one, and stops here where captum is missing
        for step in measure_importance(student, he, method, level):
            maps[step.method] = step.tokens
            yield step
    correlations = {
        (first, second): rank_correlation(maps[first], maps[second])
        for first, second in combinations(maps, 2)
    }
    yield Faithfulness(level, maps, correlations)


def mean_correlations(tiles: Sequence[Faithfulness]) -> dict[tuple[str, str], RankCorrelation]:
    """Mean of each two maps' rank correlation over tiles, with a bootstrap interval over tiles.

    Parameters
    ----------
    tiles : sequence of Faithfulness
        Those in which a correlation is undefined count for none in its mean.

    Returns
    -------
    dict
        From each two names of maps, as in `Faithfulness.correlations`; empty without tiles.
    """
    pairs = tiles[0].correlations if tiles else ()
    return {pair: _mean([tile.correlations[pair].rho for tile in tiles]) for pair in pairs}


def _mean(every: Sequence[float | None]) -> RankCorrelation:
    known = np.array([rho for rho in every if rho is not None])
    bootstrap = ClusterBootstrap(range(len(known)), "tile")
    sums = bootstrap.sums(np.column_stack([known, np.ones(len(known))]))
    found = bootstrap.estimate(ratio(sums[:, 0], sums[:, 1]), CONSTANT)
    low, high = found.interval_95 or (None, None)
    return RankCorrelation(found.value, low, high, len(known), found.reason)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> RankCorrelation:
    """Spearman's rank correlation of two maps over their tokens, with a bootstrap interval.

    Neighbouring tokens are not independent: drawn one by one they would seem to tell more than they do,
    and the interval would be too narrow. So blocks of 2 x 2 tokens are drawn with all they hold. What
    reaches further than a block still makes it too narrow, and it speaks of this tile alone: tiles of a
    slide, and slides, differ by more.

    Parameters
    ----------
    a, b : numpy.ndarray
        Finite (g, g).

    Raises
    ------
    ValueError
        If the shapes differ, or a number is not finite.
    """
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"maps must be finite and of one shape, got {a.shape} and {b.shape}")
    blocks = zip(
        *(places.ravel().tolist() for places in np.indices(a.shape) // _BLOCK), strict=True
    )
    bootstrap = ClusterBootstrap(list(blocks), "block")
    weights = bootstrap.weights[:, bootstrap.cluster]
    x, y = (_midranks(one.ravel(), weights) for one in (a, b))
    found = bootstrap.estimate(_correlation(x, y, weights), CONSTANT)
    low, high = found.interval_95 or (None, None)
    return RankCorrelation(found.value, low, high, a.size, found.reason)


def _midranks(values: np.ndarray, weights: Floats) -> Floats:
    """Ranks of (n,) in each draw, ties sharing theirs, where (draws, n) says how often it has each."""
    _, group = np.unique(values, return_inverse=True)
    held = weights @ np.eye(group.max() + 1)[group]  # (draws, different values)
    return (held.cumsum(axis=1) - held / 2)[:, group]


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Pearson's correlation in each draw: three of (draws, n) -> (draws,); NaN where one is constant."""
    x, y = (one - np.average(one, axis=1, weights=weights)[:, None] for one in (x, y))
    xx, yy, xy = ((weights * one).sum(axis=1) for one in (x * x, y * y, x * y))
    return ratio(xy, np.sqrt(xx * yy))
