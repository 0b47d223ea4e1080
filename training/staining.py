"""How well received attention tells stained tissue from unstained, where the truth is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from napari_hmkd.bootstrap import Estimate
from napari_hmkd.device import choose_device, device_errors
from napari_hmkd.model import received_attention
from napari_hmkd.sample.cohort import Cohort, TileRecord
from napari_hmkd.sample.her2 import Staining
from napari_hmkd.training.config import CohortSettings, Labels
from napari_hmkd.training.console import say, tracked
from napari_hmkd.training.graders import Grader, load_grader
from napari_hmkd.training.scores.bootstrap import PatientBootstrap
from napari_hmkd.training.sources.procedural import ProceduralSource

GAZES = ("teacher on IHC", "teacher on H&E", "student")
_LEAST_TOKENS = 0.05  # of a tile, of either kind: fewer rank nothing

Ranking = NDArray[np.float64]
"""AUC of stained tokens over unstained ones: (gazes, levels), NaN where a tile has too few of a kind."""


def stained_tokens(cohort: Cohort, record: TileRecord, side: int) -> NDArray[np.int8]:
    """Which tokens of a tile are stained: int8 (side, side); 1 yes, 0 no, -1 for what is left out.

    A token is stained if at least half of the cells in it have a complete stained membrane, and
    unstained if none has any staining; what lies between, and a token without any cell's centre, is
    left out. Faint and incomplete staining is hardly seen in the mean of a token.
    """
    side_um = cohort.tile_px * cohort.mpp
    cells = cohort.tissue(record.patient).cells((record.y_um, record.x_um), (side_um, side_um))
    y, x = cells.y_um - record.y_um, cells.x_um - record.x_um
    inside = (y >= 0) & (y < side_um) & (x >= 0) & (x < side_um)
    row, column = ((one[inside] * side / side_um).astype(int) for one in (y, x))
    staining = np.where(cells.is_tumour, cells.staining, Staining.NONE)[inside]
    count, complete, any_staining = (
        np.bincount(row * side + column, one, side**2)
        for one in (None, staining >= Staining.MODERATE_COMPLETE, staining > Staining.NONE)
    )
    kind = np.full(side**2, -1, np.int8)
    kind[(complete >= 0.5 * count) & (count > 0)] = 1
    kind[(any_staining == 0) & (count > 0)] = 0
    return kind.reshape(side, side)


def auc(stained: NDArray[np.int8], received: NDArray[np.floating]) -> float:
    """Share of (stained, unstained) pairs of tokens of which the stained one receives more; or NaN."""
    known = stained.ravel() >= 0
    truth = stained.ravel()[known] == 1
    least = _LEAST_TOKENS * stained.size
    if min(truth.sum(), (~truth).sum()) < least:
        return math.nan
    return float(roc_auc_score(truth, received.ravel()[known]))


def rank_tiles(
    cohort: Cohort, teacher: Grader, student: Grader, device: torch.device
) -> Iterator[Ranking]:
    """The ranking of each tile of a cohort, in its order.

    Raises
    ------
    DeviceError
        If the device fails.
    """
    with torch.inference_mode(), device_errors(device):
        networks = [one.network.to(device).eval() for one in (teacher, student)]
        for record in tracked(cohort.records, "Looking into tiles", len(cohort.records)):
            he, ihc = (torch.from_numpy(one[None]).to(device) for one in cohort.render(record))
            both = networks[0](
                teacher.card.normalise(he), teacher.card.normalise(ihc), attention=True
            )
            alone = networks[1](student.card.normalise(he), attention=True)
            matrices = (both.attention.ihc, both.attention.he, alone.attention)
            yield np.array([[_rank(cohort, record, one) for one in gaze] for gaze in matrices])


def _rank(cohort: Cohort, record: TileRecord, attention: torch.Tensor) -> float:
    received = received_attention(attention)[0].cpu().numpy()
    return auc(stained_tokens(cohort, record, len(received)), received)


def print_ranking(settings: CohortSettings, teacher: Path, student: Path, device: str) -> None:
    """Print a table of `summarise` for two finished networks.

    Raises
    ------
    DataError, ModelError, DeviceError
        If cohort, networks or device do not fit.
    """
    source = ProceduralSource(settings, Labels.TILE)
    graders = load_grader(teacher, "teacher"), load_grader(student, "student")
    for grader in graders:
        grader.require_same_tiles(source)
    rankings = list(rank_tiles(source.cohort, *graders, choose_device(device)))
    table = Table("attention of", "level", "tiles", "AUC, stained over unstained (95 % interval)")
    for gaze, level, tiles, mean in summarise(source.cohort, rankings):
        table.add_row(gaze, str(level), str(tiles), _words(mean))
    Console().print(table)
    say("0.5 is a guess; interval over patients; procedural tissue, research use only")


def _words(mean: Estimate) -> str:
    if mean.value is None:
        return mean.reason
    if mean.interval_95 is None:
        return f"{mean.value:.3f}"
    low, high = mean.interval_95
    return f"{mean.value:.3f} ({low:.3f} to {high:.3f})"


def summarise(cohort: Cohort, rankings: list[Ranking]) -> list[tuple[str, int, int, Estimate]]:
    """Gaze, level, number of tiles, and the mean AUC of those with an interval over patients."""
    values = np.array(rankings)  # (tiles, gazes, levels)
    patients = [record.patient for record in cohort.records]
    bootstrap = PatientBootstrap(patients)
    rows = []
    for gaze, level in np.ndindex(values.shape[1:]):
        one = values[:, gaze, level]
        known = np.isfinite(one)
        mean = bootstrap.estimate(bootstrap.mean(one, known), "no tile has both kinds of tissue")
        rows.append((GAZES[gaze], level, int(known.sum()), mean))
    return rows
