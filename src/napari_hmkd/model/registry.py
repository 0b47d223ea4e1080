"""Names of the models that come with the package."""

from __future__ import annotations

import os
from pathlib import Path

from napari_hmkd.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights"
PACKAGED = {
    "demo": "demo_student.safetensors",
    "demo-student": "demo_student.safetensors",
    "demo-teacher": "demo_teacher.safetensors",
}


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The weights file of a packaged model, by name, or the file itself.

    Raises
    ------
    ModelError
        If it is neither a packaged name nor a file.
    """
    name = os.fspath(name_or_path)
    path = WEIGHTS / PACKAGED[name] if name in PACKAGED else Path(name)
    if not path.is_file():
        raise ModelError(
            f"asked for the model {name!r}, but there is no file {path}: "
            f"name a .safetensors file or one of {', '.join(PACKAGED)}"
        )
    return path
