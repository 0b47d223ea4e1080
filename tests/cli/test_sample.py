"""`--sample`, the one slide that need not be named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_hmkd.cli import slides
from napari_hmkd.cli.grade import main
from napari_hmkd.sample import SamplePair

PaintSlide = Callable[..., Path]
COMMANDS = pytest.mark.parametrize("command", [[], ["biomarkers"]], ids=["grade", "biomarkers"])


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "--device", "cpu"])
    return int(ended.value.code or 0)


@COMMANDS
@pytest.mark.usefixtures("undrawn_figures")
def test_the_sample_slide_is_one_as_any_other(
    command: list[str],
    tmp_path: Path,
    paint_slide: PaintSlide,
    student_file: Path,
    biomarkers_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    he = paint_slide(tmp_path / "sample.tif", [[0, 1, 2], [3, -1, 1]])
    monkeypatch.setattr(slides, "sample_slide", lambda progress: SamplePair(he, he))
    models = ["--model", biomarkers_file, "--encoder", student_file]
    chosen = models if command else ["--model", student_file]
    assert run(*command, "--sample", *chosen, "--out", tmp_path / "out") == 0
    written = [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert written == [f"sample.tif{'.biomarkers' if command else ''}"]


@COMMANDS
def test_no_slide_at_all_is_asked_for(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, "--out", tmp_path / "out") == 2
    assert "at least one SLIDE, or --sample" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
