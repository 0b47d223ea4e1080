"""`napari-hmkd-grade` on a small painted slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from napari_hmkd.cli import grade as cli

PaintSlide = Callable[..., Path]
GRADES = [[0, 1, -1], [3, 2, 3]]


@pytest.fixture
def grade(student_file: Path) -> Callable[..., Result]:
    """Run the command with the small student on the CPU."""

    def run(*arguments: object, model: object = student_file) -> Result:
        options = ["--model", str(model), "--device", "cpu"]
        result = CliRunner().invoke(cli.app, [*map(str, arguments), *options])
        if result.exception is not None:
            assert isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def slide(tmp_path: Path, paint_slide: PaintSlide) -> Path:
    return paint_slide(tmp_path / "Gewebe mit ü.tif", GRADES)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
