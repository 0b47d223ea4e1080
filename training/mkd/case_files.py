"""The files of a run that list its cases, and bags that are no longer those listed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.genes.names import listed
from napari_hmkd.training.files import write_whole
from napari_hmkd.training.mkd.cases import EXCLUSIONS_FILE
from napari_hmkd.training.mkd.inputs import Inputs

CASES_FILE = "cases.csv"
DIGESTS = "bag_digests"
"""Of its columns the one that says what each bag holds."""


def write_cases(run: Path, inputs: Inputs) -> None:
    """Write `cases.csv`, which says where each case is tested, and `exclusions.csv`.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    cases, exclusions = [], []
    for data in inputs.targets:
        tested = {int(case): k for k, fold in enumerate(data.folds) for case in fold.test}
        for number, case in enumerate(data.cases):
            bags = ";".join(path.name for path in case.bags)
            shown = data.labels.classes[case.label]
            digests = inputs.digests_of(case)
            cases.append((data.name, case.name, case.patient, shown, tested[number], bags, digests))
        exclusions += [(data.name, o.kind, o.name, o.reason) for o in data.exclusions]
    header = ("target", "case", "patient", "class", "test_fold", "bags", DIGESTS)
    _write(run / CASES_FILE, header, cases)
    _write(run / EXCLUSIONS_FILE, ("target", "kind", "name", "reason"), exclusions)


def require_same_bags(run: Path, inputs: Inputs) -> None:
    """Refuse bags whose content is not what `cases.csv` says; those of earlier versions do not.

    Raises
    ------
    DataError
        Naming cases.
    OutputError
        If the file cannot be read.
    """
    path = run / CASES_FILE
    now = {
        (data.name, case.name): inputs.digests_of(case)
        for data in inputs.targets
        for case in data.cases
    }
    try:
        with path.open(newline="", encoding="utf-8") as file:
            kept = {(row["target"], row["case"]): row.get(DIGESTS) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise OutputError(
            f"the run in {run} cannot be resumed, {path} cannot be read: {error!r}. Start again in a "
            "new folder"
        ) from error
    changed = [key[1] for key, digests in kept.items() if digests not in (None, now.get(key))]
    if changed := list(dict.fromkeys(changed)):
        raise DataError(
            f"the bags of {len(changed)} cases hold other patches than when the run in {run} was started: "
            f"{listed(changed)}. Give the bags of the start, or name a new folder with --out"
        )


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
