"""What `napari-hmkd-grade` refuses before it reads a slide: exit code 2, and nothing written."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import names
from typer.testing import CliRunner, Result

from napari_hmkd.cli import grade as cli


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "out"],
        ["slide.svs"],
        ["slide.svs", "--out", "out", "--batch-size", "0"],
        ["slide.svs", "--out", "out", "--mpp", "half"],
        ["slide.svs", "--out", "out", "--geojson-origin", "scanner"],
        ["slide.svs", "--out", "out", "--no-such-option"],
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_a_missing_device_is_refused(tmp_path: Path, slide: Path, student_file: Path) -> None:
    result = CliRunner().invoke(
        cli.app,
        [str(slide), "--out", str(tmp_path / "out"), "--model", str(student_file), "--device=xpu"],
    )
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert "'xpu'" in result.stderr


def test_an_output_that_is_a_file_is_refused_before_anything_is_read(
    tmp_path: Path, slide: Path, grade: Callable[..., Result]
) -> None:
    out = tmp_path / "out"
    out.touch()
    result = grade(slide, "--out", out)
    assert result.exit_code == 2
    assert "is a file" in result.stderr


def test_an_output_that_cannot_be_is_refused_in_words(
    impossible_folder: Path, slide: Path, grade: Callable[..., Result]
) -> None:
    result = grade(slide, "--out", impossible_folder)
    assert result.exit_code == 2
    if "\0" in str(impossible_folder):  # no shell can ask for it, and typer says so
        assert "Invalid value for '--out'" in result.stderr
        return
    assert result.stderr.startswith(f"error: asked to write results to {impossible_folder}, but")
    assert result.stderr.count("\n") == 1


def test_the_slide_s_own_folder_as_output_does_not_harm_the_slide(
    slide: Path, grade: Callable[..., Result]
) -> None:
    before = slide.read_bytes()
    assert grade(slide, "--out", slide.parent).exit_code == 2
    assert slide.read_bytes() == before


def test_two_slides_of_one_name_are_refused(
    tmp_path: Path, slide: Path, grade: Callable[..., Result]
) -> None:
    other = tmp_path / "other" / slide.name
    other.parent.mkdir()
    shutil.copy(slide, other)
    result = grade(slide, other, "--out", tmp_path / "out")
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert slide.name in result.stderr


def test_a_model_that_does_not_exist_is_refused(
    tmp_path: Path, slide: Path, grade: Callable[..., Result]
) -> None:
    result = grade(slide, "--out", tmp_path / "out", model=tmp_path / "none.safetensors")
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert "none.safetensors" in result.stderr


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps({"state_dict": print})])
def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, slide: Path, grade: Callable[..., Result], student_file: Path, content: bytes
) -> None:
    model = tmp_path / "student.safetensors"
    model.write_bytes(content)
    shutil.copy(student_file.with_suffix(".json"), tmp_path)
    result = grade(slide, "--out", tmp_path / "out", model=model)
    assert (result.exit_code, names(tmp_path / "out")) == (2, [])
    assert str(model) in result.stderr
