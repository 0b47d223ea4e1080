"""What the tests of whole runs ask for, and how they read what a run leaves."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.training.mkd.conftest import CohortFiles

from napari_hmkd.training.mkd.config import (
    AdamWSettings,
    CaseComputeSettings,
    CaseTrainerSettings,
    FoldSettings,
    GeneSettings,
    MkdRunSettings,
    MkdSettings,
)
from napari_hmkd.training.mkd.inputs import Request

FOLDS = 3
SETTINGS = MkdRunSettings(
    # So few steps would be spent on the terms between the networks.
    mkd=MkdSettings(coral=0.1, orthogonality=0.1, similarity=0.1),
    genes=GeneSettings(top_genes=12, token_genes=4),
    folds=FoldSettings(folds=FOLDS),
    optimiser=AdamWSettings(learning_rate=3e-3),
    engine=CaseTrainerSettings(epochs=3),
    compute=CaseComputeSettings(batch_size=8, device="cpu"),
)
ONE_EPOCH = replace(SETTINGS, engine=CaseTrainerSettings(epochs=1))
WITHOUT_GENES = replace(ONE_EPOCH, mkd=MkdSettings(), genes=GeneSettings())
ROWS = ("MKD, P (pathology alone)", "MKD, M (both)", "MKD, G (genes)", "P alone")


def request(files: CohortFiles, **changed: Any) -> Request:
    return replace(Request(files.bags, files.labels, ("HER2",), files.genes), **changed)


def table(run: Path, target: str = "HER2") -> dict[str, Any]:
    found = json.loads((run / "table.json").read_text(encoding="utf-8"))
    return found["targets"][target]["scores"]


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
