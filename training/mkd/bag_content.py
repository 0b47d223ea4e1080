"""What bags hold, in short: to know bags that were made anew, and copies of one bag."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from napari_hmkd.bags.bag import read_header, read_patches
from napari_hmkd.genes.names import listed
from napari_hmkd.training.mkd.cases import Case

MOST_PATCHES = 16


def content_digest(path: Path) -> str:
    """SHA-256, 16 hex digits, of a bag's shape and type and of up to 16 patches, evenly spread.

    The first and the last are among them, each with its features and place. A cohort need not be read
    for it: 700 bags are gigabytes.

    Raises
    ------
    DataError
        If the file is missing, damaged or no bag.
    """
    header = read_header(path)
    count = min(MOST_PATCHES, header.patches)
    places = np.linspace(0, header.patches - 1, count).astype(int).tolist()
    digest = hashlib.sha256(f"{header.patches} {header.features} {header.dtype}".encode())
    for values in read_patches(path, places):
        digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def copies_of_others(cases: Iterable[Case], digests: Mapping[Path, str]) -> list[str]:
    """A sentence about bags of different patients that hold the same, if there are any.

    Folds part patients, so that one of the copies can be trained on and another one tested.

    Parameters
    ----------
    cases : iterable of Case
    digests : mapping of file to `content_digest`
    """
    owners: defaultdict[str, dict[Path, str]] = defaultdict(dict)
    for case in cases:
        for path in case.bags:
            owners[digests[path]][path] = case.patient
    groups = [group for group in owners.values() if len(set(group.values())) > 1]
    if not groups:
        return []
    shown = listed(
        " = ".join(f"{path.name} (patient {patient})" for path, patient in group.items())
        for group in groups
    )
    return [
        f"Leak: bags of different patients hold the same patches, so that folds can train on one and test on "
        f"its copy: {shown}. Scores may be too good; keep one of each, or say in the column `patient` that "
        "they are one patient's."
    ]
