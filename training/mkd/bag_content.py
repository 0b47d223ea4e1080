"""What bags hold, in short: whether it can be used, bags that were made anew, and copies of one bag."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from napari_hmkd.bags.bag import read_stored
from napari_hmkd.errors import DataError
from napari_hmkd.genes.names import listed
from napari_hmkd.training.console import tracked
from napari_hmkd.training.mkd.bag_store import REMEDY, count_not_finite
from napari_hmkd.training.mkd.cases import Case
from napari_hmkd.training.parallel import in_order

_AT_ONCE = 2  # a whole bag is in memory for each, and a disk gives no more


def content_digests(paths: Sequence[Path]) -> dict[Path, str]:
    """Look at every value of bags, with progress: what each holds, in short.

    Returns
    -------
    dict of Path to str
        SHA-256, 16 hex digits, of a bag's shape and type and of all features and places.

    Raises
    ------
    DataError
        If features are not finite in the type that they are trained in, naming all such bags; or a file
        is missing, damaged or no bag.
    """
    looked = in_order(ThreadPoolExecutor(_AT_ONCE), _looked_at, paths, ahead=_AT_ONCE)
    found = dict(zip(paths, tracked(looked, "Reading bags", len(paths)), strict=True))
    bad = [
        f"{path.name} ({wrong} of {patches} patches)"
        for path, (_, wrong, patches) in found.items()
        if wrong
    ]
    if bad:
        raise DataError(
            f"{len(bad)} of {len(paths)} bags have features that are not finite: {', '.join(bad)}. {REMEDY}"
        )
    return {path: digest for path, (digest, _, _) in found.items()}


def _looked_at(path: Path) -> tuple[str, int, int]:
    """Digest of a bag, how many of its patches have features that are not finite, and how many there are."""
    features, coords = read_stored(path)
    digest = hashlib.sha256(f"{features.shape} {features.dtype}".encode())
    for values in (features, coords):
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16], count_not_finite(features), len(features)


def copies_of_others(cases: Iterable[Case], digests: Mapping[Path, str]) -> list[str]:
    """A sentence about bags of different patients that hold the same, if there are any.

    Folds part patients, so that one of the copies can be trained on and another one tested.

    Parameters
    ----------
    cases : iterable of Case
    digests : mapping
        As `content_digests` gives them.
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
