"""`biomarkers.csv`, to which several runs of `napari-hmkd-grade biomarkers` add."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_hmkd.cli import biomarkers_run
from napari_hmkd.cli.grade import main


@pytest.fixture
def run(biomarkers_file: Path, student_file: Path, tmp_path: Path) -> Callable[..., int]:
    """The command for slides, and its exit code."""
    models = ("--model", biomarkers_file, "--encoder", student_file)

    def judge(*slides: object) -> int:
        command = ("biomarkers", *slides, *models, "--device", "cpu", "--out", tmp_path / "out")
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, command)))
        return int(ended.value.code or 0)

    return judge


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stop(_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("undrawn_figures")
def test_rows_stay_until_there_are_new_ones_or_their_slide_has_gone(
    run: Callable[..., int],
    paint_slide: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    glass = paint_slide(tmp_path / "glass.tif", [[-1, -1], [-1, -1]])
    tissue = paint_slide(tmp_path / "gewebe ä.tif", [[0, 1, 2], [3, -1, 1]])
    path = tmp_path / "out" / "biomarkers.csv"
    assert run(glass, tissue) == 2
    before = rows(path)
    assert [row["slide"] for row in before] == [str(glass)] * 2 + [str(tissue)] * 2
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as stopped:
        stopped.setattr(biomarkers_run, "_run", stop)
        assert run("glass.tif", tissue.name) == 130
    assert rows(path) == before
    assert run("glass.tif") == 2
    assert rows(path) == before
    glass.unlink()
    assert run(tissue.name) == 0
    after = rows(path)
    assert [row["slide"] for row in after] == [str(tissue)] * 2
    assert [row["p_positive"] for row in after] == [row["p_positive"] for row in before[2:]]


def test_a_table_that_cannot_be_read_stops_a_run_before_a_slide_is_judged(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "biomarkers.csv"
    path.parent.mkdir()
    path.write_text("slide;outcome;message\n", encoding="utf-8")
    assert run(tmp_path / "never opened.tif") == 2
    told = capsys.readouterr().err
    assert "save it as CSV in UTF-8 with commas" in told
    assert "never opened" not in told
    assert path.read_text(encoding="utf-8") == "slide;outcome;message\n"
