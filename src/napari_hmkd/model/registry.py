"""Names of the models that come with the package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from napari_hmkd.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights"
PACKAGED = {
    "demo": "demo_student.safetensors",
    "demo-student": "demo_student.safetensors",
    "demo-teacher": "demo_teacher.safetensors",
}
PACKAGED_BIOMARKERS = {"demo": "demo_biomarkers.safetensors"}


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The weights file of a packaged grader, by name, or the file itself.

    Raises
    ------
    ModelError
        If it is neither a packaged name nor a file.
    """
    return _find(name_or_path, PACKAGED)


def find_biomarkers(name_or_path: str | os.PathLike[str]) -> Path:
    """The weights file of a packaged biomarker model, by name, or the file itself.

    Raises
    ------
    ModelError
        If it is neither a packaged name nor a file.
    """
    return _find(name_or_path, PACKAGED_BIOMARKERS)


def _find(name_or_path: str | os.PathLike[str], packaged: Mapping[str, str]) -> Path:
    name = os.fspath(name_or_path)
    path = WEIGHTS / packaged[name] if name in packaged else Path(name)
    if os.path.isdir(path):
        raise ModelError(
            f"asked for the model {name!r}, but {path} is a folder: name the .safetensors file in it"
        )
    if not os.path.isfile(path):  # pathlib raises in a folder that may not be entered
        raise ModelError(
            f"asked for the model {name!r}, but there is no file {path} that can be seen: "
            f"name a .safetensors file or one of {', '.join(packaged)}"
        )
    return path
