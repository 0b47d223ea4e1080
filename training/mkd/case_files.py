"""The files of a run that list its cases, and cases that are no longer as listed."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from napari_hmkd.errors import DataError, OutputError, reason_of
from napari_hmkd.genes.names import listed
from napari_hmkd.training.files import write_csv
from napari_hmkd.training.mkd.cases import EXCLUSIONS_FILE, Case
from napari_hmkd.training.mkd.inputs import Inputs

CASES_FILE = "cases.csv"
JOINED = ("genes", "bags", "bag_contents")
"""Of its columns those that say which row of genes and which bags a case has, and what each bag holds."""


def write_cases(run: Path, inputs: Inputs, digests: Mapping[Path, str]) -> None:
    """Write `cases.csv`, which says where each case is tested, and `exclusions.csv`.

    Parameters
    ----------
    run : Path
        Folder of the run.
    inputs : Inputs
    digests : mapping
        Of all bags, as `content_digests` gives them.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    cases, exclusions = [], []
    for data in inputs.targets:
        tested = {int(case): k for k, fold in enumerate(data.folds) for case in fold.test}
        for number, case in enumerate(data.cases):
            shown, joined = data.labels.classes[case.label], _joined(case, digests)
            cases.append((data.name, case.name, case.patient, shown, tested[number], *joined))
        exclusions += [(data.name, o.kind, o.name, o.reason) for o in data.exclusions]
    header = ("target", "case", "patient", "class", "test_fold", *JOINED)
    write_csv(run / CASES_FILE, header, cases)
    write_csv(run / EXCLUSIONS_FILE, ("target", "kind", "name", "reason"), exclusions)


def require_same_cases(run: Path, inputs: Inputs, digests: Mapping[Path, str]) -> None:
    """Refuse cases whose genes or bags, or what these hold, are not what `cases.csv` says.

    Parameters
    ----------
    run, inputs, digests
        As of `write_cases`.

    Raises
    ------
    DataError
        Naming cases.
    OutputError
        If the file cannot be read.
    """
    path = run / CASES_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            kept = {(row["target"], row["case"]): [row[name] for name in JOINED] for row in reader}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise OutputError(
            f"the run in {run} cannot be resumed, {path} cannot be read: {reason_of(error)}. Start again in a "
            "new folder"
        ) from error
    now = {
        (data.name, case.name): _joined(case, digests)
        for data in inputs.targets
        for case in data.cases
    }
    changed = [key[1] for key in kept | now if kept.get(key) != now.get(key)]
    if changed := list(dict.fromkeys(changed)):
        raise DataError(
            f"{len(changed)} cases have other bags or genes than when the run in {run} was started, or bags that "
            f"hold other patches: {listed(changed)}. Give those of the start, or name a new folder with --out"
        )


def _joined(case: Case, digests: Mapping[Path, str]) -> list[str]:
    """The cells of `JOINED`."""
    names, contents = zip(*((path.name, digests[path]) for path in case.bags), strict=True)
    return [case.genes, ";".join(names), ";".join(contents)]
