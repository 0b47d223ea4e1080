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
BAG_COLUMNS = ("bags", "bag_digests")
"""Of its columns those that say which bags a case has, and what each holds."""


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
            shown, bags = data.labels.classes[case.label], inputs.bags_of(case)
            cases.append((data.name, case.name, case.patient, shown, tested[number], *bags))
        exclusions += [(data.name, o.kind, o.name, o.reason) for o in data.exclusions]
    header = ("target", "case", "patient", "class", "test_fold", *BAG_COLUMNS)
    _write(run / CASES_FILE, header, cases)
    _write(run / EXCLUSIONS_FILE, ("target", "kind", "name", "reason"), exclusions)


def require_same_bags(run: Path, inputs: Inputs) -> None:
    """Refuse cases whose bags, or what these hold, are not what `cases.csv` says.

    That of an earlier version does not say what they hold.

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
            columns = [name for name in BAG_COLUMNS if name in (reader.fieldnames or ())]
            kept = {(row["target"], row["case"]): [row[name] for name in columns] for row in reader}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise OutputError(
            f"the run in {run} cannot be resumed, {path} cannot be read: {error!r}. Start again in a "
            "new folder"
        ) from error
    now = {
        (data.name, case.name): list(inputs.bags_of(case)[: len(columns)])
        for data in inputs.targets
        for case in data.cases
    }
    changed = [key[1] for key in kept | now if kept.get(key) != now.get(key)]
    if changed := list(dict.fromkeys(changed)):
        raise DataError(
            f"{len(changed)} cases have other bags than when the run in {run} was started, or bags that hold "
            f"other patches: {listed(changed)}. Give the bags of the start, or name a new folder with --out"
        )


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
