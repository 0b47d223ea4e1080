"""The pieces of a run: each approach on each fold of each target, in the order of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import quote

from napari_hmkd.errors import DataError
from napari_hmkd.genes.selection import GeneSelection
from napari_hmkd.training.files import make_folder
from napari_hmkd.training.mkd.approaches import approaches
from napari_hmkd.training.mkd.bag_store import BagStore
from napari_hmkd.training.mkd.baselines import Sizes
from napari_hmkd.training.mkd.config import MkdRunSettings
from napari_hmkd.training.mkd.fold_run import CaseData, FoldRun
from napari_hmkd.training.mkd.inputs import Inputs, TargetData
from napari_hmkd.training.run import write_json

GENES_FILE = "genes.json"


@dataclass(frozen=True, eq=False)
class TargetRuns:
    """A target and its pieces: by fold, one for each approach."""

    data: TargetData
    folds: Sequence[Sequence[FoldRun]]


def plan_runs(
    folder: Path,
    inputs: Inputs,
    settings: MkdRunSettings,
    *,
    baselines: bool,
) -> list[TargetRuns]:
    """All pieces of a run; what they need is opened when one of them is trained.

    Parameters
    ----------
    folder : Path
        The run's.
    inputs : Inputs
    settings : MkdRunSettings
        With the device in full, as `choose_device` has it.
    baselines : bool
        Whether baselines belong to it.
    """
    store = BagStore(settings.compute.memory_gb)
    names = approaches(genes=inputs.genes is not None, baselines=baselines)

    @lru_cache(maxsize=1)  # the pieces of a fold, which come one after the other, share its genes
    def open_fold(data: TargetData, number: int) -> CaseData:
        """The cases of a fold, with its genes, whose choice is kept beside what learns from it."""
        fold, tokens = data.folds[number], None
        if inputs.genes is not None:
            chosen = inputs.select_genes(data, fold, settings)
            tokens = chosen.tokens(inputs.genes, [case.genes for case in data.cases])
            place = fold_folder(folder, data.name, number)
            make_folder(place)
            write_json(place / GENES_FILE, chosen.to_json())
        return CaseData(data.cases, fold, tokens, settings, store)

    def piece(data: TargetData, number: int, approach: str) -> FoldRun:
        sizes = Sizes(data.feature_dim, settings.genes.token_genes, len(data.labels.classes))
        place = fold_folder(folder, data.name, number) / approach
        open_data = partial(open_fold, data, number)
        return FoldRun(place, approach, sizes, settings, open_data)

    return [
        TargetRuns(data, [[piece(data, k, name) for name in names] for k in range(len(data.folds))])
        for data in inputs.targets
    ]


def fold_folder(run: Path, target: str, number: int) -> Path:
    """Where a run keeps a fold of a target."""
    return run / quote(target, safe=" ") / f"fold_{number}"


def read_selection(fold: Path) -> GeneSelection:
    """The genes that the networks of a fold see.

    Parameters
    ----------
    fold : Path
        As `fold_folder` gives it.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    path = fold / GENES_FILE
    try:
        return GeneSelection.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, DataError) as error:
        raise DataError(f"{path} cannot be read: {error}. Delete this fold and --resume") from error
