"""All targets, folds and approaches in one run, in pieces that a later call goes on with."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from napari_hmkd.device import choose_device
from napari_hmkd.training.console import say
from napari_hmkd.training.engine import resolve_precision
from napari_hmkd.training.mkd.bag_content import content_digests, copies_of_others
from napari_hmkd.training.mkd.case_files import CASES_FILE, require_same_cases, write_cases
from napari_hmkd.training.mkd.cases import EXCLUSIONS_FILE
from napari_hmkd.training.mkd.config import MkdRunSettings
from napari_hmkd.training.mkd.export import export_networks
from napari_hmkd.training.mkd.inputs import Inputs, Request, read_inputs
from napari_hmkd.training.mkd.plan import TargetRuns, plan_runs
from napari_hmkd.training.mkd.results import results
from napari_hmkd.training.mkd.table import print_table, write_table
from napari_hmkd.training.run import RecordedFolder


class MkdFolder(RecordedFolder):
    """The folder of a run: what it was asked, its cases, and a folder for each target and fold."""

    first_files = (CASES_FILE, EXCLUSIONS_FILE)
    # Where data lies and how it is computed changes no number; baselines may be added later.
    free = frozenset({
        *(("compute", name) for name in ("device", "workers", "memory_gb")),
        *((name, "") for name in ("bags", "labels", "gene_table", "baselines", "versions")),
        ("genes", "ranking"),
    })  # fmt: skip


def train_mkd(
    request: Request,
    out: Path,
    settings: MkdRunSettings,
    *,
    resume: bool = False,
    deadline: float | None = None,
) -> Path | None:
    """Train every approach on every fold of every target; score and export them.

    Parameters
    ----------
    request : Request
        What to learn from what.
    out : Path
        The run's folder; new or empty, unless `resume`.
    settings : MkdRunSettings
        All else.
    resume : bool
        Skip what is finished in `out`, and go on after the last finished epoch of the rest; the
        run must have been started with the same settings. Start where there is none.
    deadline : float, optional
        `time.monotonic()` at which to pause.

    Returns
    -------
    Path or None
        The exported model. None where the deadline came first.

    Raises
    ------
    HmkdError
        If the input is bad (nothing has been written to `out` then), training fails, or another
        run is at work in `out`.
    """
    device = choose_device(settings.compute.device)
    settings = resolved(settings, device)
    with MkdFolder(out, resume=resume) as folder:
        folder.require_usable()
        inputs = read_inputs(request, settings)
        asked = record(request, settings, inputs)
        if folder.resuming:
            folder.require_same_settings(asked)
            folder.hold()
        digests = content_digests(inputs.bags)
        if folder.resuming:
            require_same_cases(out, inputs, digests)
        else:
            folder.begin(asked, lambda: write_cases(out, inputs, digests))
        notes = [*copies_of_others(inputs.cases, digests), *inputs.notes(settings.genes)]
        for note in notes:
            say(note)
        targets = plan_runs(out, inputs, settings, baselines=request.baselines)
        if not all(_train(runs, deadline) for runs in targets):
            return None
        found = results(targets, notes)
        write_table(out, found)
        print_table(found)
        return export_networks(targets, inputs.source, out)


def record(request: Request, settings: MkdRunSettings, inputs: Inputs) -> dict[str, Any]:
    """What `settings.json` says and what a resumed run must repeat."""
    groups = {group.name: asdict(getattr(settings, group.name)) for group in fields(settings)}
    return {**asdict(request), "identity": inputs.identity, **groups}


def resolved(settings: MkdRunSettings, device: torch.device) -> MkdRunSettings:
    """The same settings, with what was left open filled in as far as the device tells."""
    precision = resolve_precision(settings.engine.precision, device)
    return replace(
        settings,
        engine=replace(settings.engine, precision=precision),
        compute=replace(settings.compute, device=str(device)),
    )


def _train(runs: TargetRuns, deadline: float | None) -> bool:
    """Train what is not finished of a target; False where the deadline came first."""
    data = runs.data
    say(f"{data.summary}; {data.cases_left_out} left out, see {EXCLUSIONS_FILE}")
    for number, fold in enumerate(runs.folds):
        for piece in fold:
            if piece.finished:
                continue
            say(f"{data.name}, fold {number + 1} of {len(runs.folds)}: {piece.approach}")
            if not piece.train(deadline):
                return False
    return True
