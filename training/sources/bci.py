"""The layout of BCI (Liu et al., CVPR-W 2022): 1024 px at about 0.46 um/px."""

from __future__ import annotations

import re

from napari_hmkd.errors import DataError
from napari_hmkd.training.sources.folders import Layout
from napari_hmkd.wording import GRADE_NAMES

BCI_MPP = 0.46


def grade_in_name(name: str) -> int:
    """The grade 0 to 3 at the end of a BCI file name, e.g. 2 for `00012_train_2+.png`.

    Raises
    ------
    DataError
        If the name does not end in `_0`, `_1+`, `_2+` or `_3+` before its suffix.
    """
    match = re.search(r"_(0|1\+|2\+|3\+)\.[A-Za-z0-9]+$", name)
    if match is None:
        raise DataError(
            f"no HER2 grade in the file name {name}: it must end in _0, _1+, _2+ or _3+ before "
            "the suffix, as in 00012_train_2+.png"
        )
    return GRADE_NAMES.index(match.group(1))


BCI = Layout(
    kind="BCI layout",
    he="HE/{}",
    ihc="IHC/{}",
    grade=grade_in_name,
    notes=(
        "BCI's grade is the whole slide's, not the tile's: a tile without tumour carries it too",
        "BCI's file names tell neither slide nor patient: only pictures can be compared across "
        "splits, and no split of its tiles is known to be by patient",
    ),
    mpp=BCI_MPP,
)
