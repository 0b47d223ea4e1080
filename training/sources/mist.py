"""The layout of MIST (Li et al., MICCAI 2023): trainA is H&E, trainB is IHC; no grades."""

from __future__ import annotations

from napari_hmkd.training.sources.folders import Layout

MIST = Layout(
    kind="MIST layout",
    he="{}A",
    ihc="{}B",
    grade=lambda name: None,  # names tell none
    notes=(
        "pairs in MIST's layout have no grade: a student can be distilled from them with "
        "--cross-entropy 0, and nothing can be scored against a label",
        "MIST's file names tell no patient, and it is reported to hold the same patients in train "
        "and val: only pictures can be compared across splits",
    ),
)
