"""One approach on one fold: fit, best epoch, temperature, answers on the test cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray

from napari_hmkd.device import device_errors
from napari_hmkd.errors import OutputError, reason_of
from napari_hmkd.training.checkpoints import load_best, read_progress
from napari_hmkd.training.config import ParallelComputeSettings
from napari_hmkd.training.engine import Engine, Fit
from napari_hmkd.training.files import make_folder, write_csv
from napari_hmkd.training.mkd.approaches import build_task
from napari_hmkd.training.mkd.bag_store import BagStore
from napari_hmkd.training.mkd.baselines import Sizes
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.mkd.config import MkdRunSettings
from napari_hmkd.training.mkd.folds import Fold
from napari_hmkd.training.mkd.loader import CaseLoader, Genes, case_loader
from napari_hmkd.training.mkd.metrics import class_auc
from napari_hmkd.training.mkd.scoring import FoldAnswers
from napari_hmkd.training.mkd.task import MONITOR, CaseTask, joined
from napari_hmkd.training.run import write_json
from napari_hmkd.training.scores.calibration import (
    probabilities,
    temperature_or_one,
    temperature_remarks,
)

OUTCOME_FILE = "outcome.json"
ANSWERS_FILE = "predictions.csv"
ABOUT = ("network", "case", "patient", "label")


class CaseData(lightning.LightningDataModule):
    """The cases of one target, divided for one fold.

    Parameters
    ----------
    cases : sequence of Case
    fold : Fold
        Indices into them.
    genes : (cases, tokens, token_genes) float32, or None
        Of all cases, on the scale of the fold's training part.
    settings : MkdRunSettings
    store : BagStore
        Keeps the bags that other folds read, too.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        fold: Fold,
        genes: Genes | None,
        settings: MkdRunSettings,
        store: BagStore,
    ) -> None:
        super().__init__()
        self.cases, self.fold = cases, fold
        self._genes, self._settings, self._store = genes, settings, store

    @property
    def tokens(self) -> int | None:
        """Tokens of genes in a case."""
        return None if self._genes is None else self._genes.shape[1]

    def train_dataloader(self) -> CaseLoader:
        """Training cases, drawn so that the classes are balanced."""
        return self._loader(self.fold.train, balanced=True)

    def val_dataloader(self) -> CaseLoader:
        """Validation cases in order."""
        return self.part("validation")

    def part(self, name: str) -> CaseLoader:
        """The cases of a part, in order, each once."""
        return self._loader(getattr(self.fold, name), balanced=False)

    def _loader(self, indices: NDArray[np.integer], *, balanced: bool) -> CaseLoader:
        compute = self._settings.compute
        return case_loader(
            self.cases,
            indices,
            self._genes,
            self._store,
            batch_size=compute.batch_size,
            balanced=balanced,
            seed=self._settings.engine.seed,
            workers=compute.workers,
        )


@dataclass(frozen=True, eq=False)
class FoldRun:
    """What is trained, on what, and where it is kept."""

    folder: Path
    approach: str
    sizes: Sizes
    settings: MkdRunSettings
    open_data: Callable[[], CaseData]

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device(self.settings.compute.device)

    @property
    def finished(self) -> bool:
        """Whether its outcome, which is written last, is there."""
        return (self.folder / OUTCOME_FILE).is_file()

    def new_task(self, tokens: int | None = None) -> CaseTask:
        """The task with the weights of the run's seed; a baseline of genes asks for `tokens`."""
        lightning.seed_everything(self.settings.engine.seed, verbose=False)
        sizes = self.sizes if tokens is None else replace(self.sizes, tokens=tokens)
        return build_task(self.approach, sizes, self.settings)

    def trained_task(self) -> CaseTask:
        """The task with the weights of the best epoch.

        Raises
        ------
        ModelError
            If the checkpoint cannot be used.
        """
        task = self.new_task()
        load_best(task, self.folder)
        return task

    def train(self, deadline: float | None = None) -> bool:
        """Train, or go on after the last epoch; False where the deadline came first.

        Raises
        ------
        HmkdError
            If it cannot be trained; the last whole checkpoint is kept.
        """
        settings, data = self.settings, self.open_data()
        task = self.new_task(data.tokens)
        compute = ParallelComputeSettings(settings.compute.batch_size, settings.compute.device)
        make_folder(self.folder)
        engine = Engine(
            settings.engine, compute, self.device, self.folder, deadline, monitor=MONITOR
        )
        fitted = engine.fit(task, data, read_progress(self.folder, task, repair=True))
        if fitted is None:
            return False
        self._judge(task, data, fitted)
        return True

    def _judge(self, task: CaseTask, data: CaseData, fitted: Fit) -> None:
        """Fit temperatures on validation, answer the test cases, and keep both."""
        held, truth = predict(task, data.part("validation"), self.device)
        temperatures = {name: temperature_or_one(logits, truth) for name, logits in held.items()}
        logits, _ = predict(task, data.part("test"), self.device)
        self._write_answers([data.cases[index] for index in data.fold.test], logits)
        write_json(
            self.folder / OUTCOME_FILE,
            {
                "fit": asdict(fitted),
                "validation_auc": {
                    name: class_auc(probabilities(z, 1.0), truth) for name, z in held.items()
                },
                "temperature": temperatures,
                "remarks": {
                    name: temperature_remarks(t, "validation") for name, t in temperatures.items()
                },
            },
        )

    def outcome(self) -> dict[str, Any]:
        """What a finished run says of itself: `fit`, and by network `validation_auc`, `temperature`.

        Raises
        ------
        OutputError
            If it cannot be read.
        """
        path = self.folder / OUTCOME_FILE
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{path} cannot be read: {error}. Delete it and --resume") from error
        return found

    def answers(self) -> dict[str, FoldAnswers]:
        """A finished run's answers on the test cases, by network.

        Raises
        ------
        OutputError
            If they cannot be read.
        """
        path, temperature = self.folder / ANSWERS_FILE, self.outcome()["temperature"]
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            names = [key for key in rows[0] if key not in ABOUT]
            return {
                network: FoldAnswers(
                    cases=tuple(row["case"] for row in own),
                    patients=tuple(row["patient"] for row in own),
                    labels=np.array([int(row["label"]) for row in own]),
                    logits=np.array([[float(row[name]) for name in names] for row in own]),
                    temperature=temperature[network],
                )
                for network in temperature
                if (own := [row for row in rows if row["network"] == network])
            }
        except (OSError, ValueError, KeyError, IndexError, TypeError, csv.Error) as error:
            raise OutputError(
                f"{path} cannot be read: {reason_of(error)}. Delete {OUTCOME_FILE} beside it and --resume"
            ) from error

    def _write_answers(
        self, cases: Sequence[Case], answers: Mapping[str, NDArray[np.floating]]
    ) -> None:
        """One line for each network and test case; logits are uncalibrated."""
        header = (*ABOUT, *(f"logit_{k}" for k in range(self.sizes.classes)))
        lines = (
            (network, case.name, case.patient, case.label, *(f"{z:.9g}" for z in row))
            for network, logits in answers.items()
            for case, row in zip(cases, logits, strict=True)
        )
        write_csv(self.folder / ANSWERS_FILE, header, lines)


def predict(
    task: CaseTask, loader: CaseLoader, device: torch.device
) -> tuple[dict[str, NDArray[np.floating]], NDArray[np.integer]]:
    """Logits (n, classes) float32 of each network, and labels (n,), in the loader's order.

    Raises
    ------
    DeviceError
        If the device fails.
    """
    with torch.inference_mode(), device_errors(device):
        task.to(device).eval()
        found = [(task.logits(batch), batch.label) for batch in (b.to(device) for b in loader)]
        task.cpu()
    return joined(found)
