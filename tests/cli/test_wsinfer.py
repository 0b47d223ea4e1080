"""`napari-hmkd-grade export-wsinfer`: a student's folder, or one sentence and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from napari_hmkd.cli.wsinfer import app


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Result]:
    """Run the command into a folder that is not there."""

    def run(*arguments: object) -> Result:
        words = ["--out", tmp_path / "Modelle ß" / "student", *arguments]
        result = CliRunner().invoke(app, [*map(str, words)])
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.mark.slow
def test_a_student_gets_its_folder(
    tmp_path: Path, student_file: Path, export: Callable[..., Result]
) -> None:
    result = export("--model", student_file)
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "Modelle ß" / "student"
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "torchscript_model.pt",
    }
    assert str(folder) in result.stdout
    assert "research use only" in result.stdout
    assert "notice: random weights, research use only" in result.stderr


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("missing.safetensors", "asked for the model 'missing.safetensors', but there is no file"),
        ("demo-teacher", "a teacher needs H&E and IHC"),
    ],
)
def test_what_is_no_student_is_refused(
    tmp_path: Path, export: Callable[..., Result], model: str, words: str
) -> None:
    result = export("--model", model)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, student_file: Path, export: Callable[..., Result]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    result = export("--model", student_file, "--out", tmp_path)
    assert result.exit_code == 2
    assert "left alone" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_folder_must_be_named() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "--out" in result.stderr
