"""Models are found by name or by path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_hmkd.errors import ModelError
from napari_hmkd.model import find_model, registry
from napari_hmkd.model.registry import find_biomarkers


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("demo", "demo_student.safetensors"),
        ("demo-student", "demo_student.safetensors"),
        ("demo-teacher", "demo_teacher.safetensors"),
    ],
)
def test_packaged_names(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    assert find_model(name) == tmp_path / file


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_itself(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "mon modèle.safetensors"
    path.touch()
    assert find_model(kind(path)) == path


def test_anything_else_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="demo-teacher"):
        find_model("dmeo")
    with pytest.raises(ModelError, match="no file"):
        find_model(tmp_path / "student.safetensors")


@pytest.mark.parametrize("find", [find_model, find_biomarkers])
def test_a_folder_is_refused_as_one(find: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is a folder: name the \.safetensors file in it"):
        find(tmp_path)
