"""Graded tiles survive a closed or killed run, and are never another's."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.cli.grade import main
from napari_hmkd.errors import OutputError
from napari_hmkd.grading import OpenModel, SlideGrading, start_grading
from napari_hmkd.inference import GradedBatch
from napari_hmkd.planning import GradeSettings
from napari_hmkd.result_store import ResultStore
from napari_hmkd.slide import open_slide

GRADES = [[0, 1, 2, 3], [3, 2, 1, 0]]
ONE_BY_ONE = GradeSettings(batch_size=1, device="cpu")


@pytest.fixture
def slide_file(tmp_path: Path, paint_slide: Callable[..., Path]) -> Path:
    return paint_slide(tmp_path / "Präparat 1.tif", GRADES)


def batch(rows: range, seed: int = 0, cells: int | None = None) -> GradedBatch:
    rng = np.random.default_rng(seed)
    tiles = np.array([(row, 2 * row) for row in rows], np.int64).reshape(-1, 2)
    evidence = None if cells is None else rng.random((len(rows), cells, cells, 4), np.float32)
    probabilities = rng.dirichlet(np.ones(4), len(rows)).astype(np.float32)
    return GradedBatch(tiles, probabilities, evidence=evidence)


def spoil(store: ResultStore, row: int, column: str, value: object) -> None:
    """Put something else in place of what was kept of a tile."""
    with closing(sqlite3.connect(store.path)) as database, database:
        database.execute(f'UPDATE tiles SET {column} = ? WHERE "row" = ?', (value, row))


def floats(*numbers: float) -> bytes:
    return np.array(numbers, np.float32).tobytes()


@pytest.mark.parametrize("cells", [None, 1, 2])
def test_what_was_kept_comes_back_bit_for_bit(tmp_path: Path, cells: int | None) -> None:
    store = ResultStore(tmp_path / "a b", "slide.svs", {"model": 1})
    assert len(store.read().tiles) == 0
    assert not store.path.parent.exists(), "asking makes nothing"
    kept = batch(range(5), cells=cells)
    store.add(kept)
    store.add(batch(range(0), cells=cells))
    found = ResultStore(tmp_path / "a b", "slide.svs", {"model": 1}).read()
    assert np.array_equal(found.tiles, kept.tiles)
    assert np.array_equal(found.probabilities, kept.probabilities)
    assert (found.evidence is None) == (cells is None)
    assert cells is None or np.array_equal(found.evidence, kept.evidence)


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 120 + ".svs", "組" * 85])
def test_a_slide_with_the_longest_name_of_a_file_has_its_tiles_kept(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    store = ResultStore(tmp_path, name, {})
    store.add(batch(range(3)))
    assert len(store.read().tiles) == 3


def go_on_in(folder: Path) -> None:
    store = ResultStore(folder, "slide.svs", {})
    assert len(store.read().tiles) == 0
    store.add(batch(range(3)))


def test_tiles_that_cannot_be_kept_are_an_error_in_words(impossible_folder: Path) -> None:
    with pytest.raises(OutputError, match=r"^asked to keep tiles in .*look at") as caught:
        go_on_in(impossible_folder)
    assert str(impossible_folder) in str(caught.value)


def test_another_key_is_another_file(tmp_path: Path) -> None:
    ResultStore(tmp_path, "slide.svs", {"model": 1}).add(batch(range(3)))
    assert len(ResultStore(tmp_path, "slide.svs", {"model": 2}).read().tiles) == 0


def test_a_file_that_was_renamed_to_another_key_is_refused(tmp_path: Path) -> None:
    one, other = (ResultStore(tmp_path, "slide.svs", {"model": model}) for model in (1, 2))
    one.add(batch(range(3)))
    one.path.rename(other.path)
    with pytest.raises(OutputError, match="belong to another slide, model or grid"):
        other.read()


def test_runs_side_by_side_keep_each_others_tiles(tmp_path: Path) -> None:
    def keep(first: int) -> None:
        store = ResultStore(tmp_path, "slide.svs", {})
        for row in range(first, first + 20):
            store.add(batch(range(row, row + 1), seed=row))

    threads = [threading.Thread(target=keep, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ResultStore(tmp_path, "slide.svs", {}).read()
    assert found.tiles[:, 0].tolist() == list(range(40))
    expected = [batch(range(row, row + 1), seed=row).probabilities[0] for row in range(40)]
    assert np.array_equal(found.probabilities, expected)


def graded(
    path: Path, model: OpenModel, kept_in: Path | None, batches: int | None = None
) -> SlideGrading:
    """A grading that was stopped after so many batches."""
    with open_slide(path) as slide:
        grading = start_grading(slide, model, ONE_BY_ONE, kept_in=kept_in)
        run = grading.run()
        assert len(list(islice(run, batches))) == batches or batches is None
        run.close()
    return grading


def test_a_closed_run_goes_on_where_it_stopped(
    slide_file: Path, colour_model: OpenModel, tmp_path: Path
) -> None:
    first = graded(slide_file, colour_model, tmp_path / "kept", batches=3)
    second = graded(slide_file, colour_model, tmp_path / "kept")
    assert second.resumed_tiles == int(first.heatmap.graded.sum()) == 3
    whole = graded(slide_file, colour_model, None)
    assert np.array_equal(second.heatmap.probabilities, whole.heatmap.probabilities)
    again = graded(slide_file, colour_model, tmp_path / "kept", batches=0)
    assert again.resumed_tiles == whole.heatmap.graded.sum() == 8


def test_another_slide_under_the_same_name_starts_anew(
    slide_file: Path, colour_model: OpenModel, paint_slide: Callable[..., Path], tmp_path: Path
) -> None:
    graded(slide_file, colour_model, tmp_path / "kept")
    paint_slide(slide_file, [[1, 1, 1, 1], [2, 2, 2, 2]])
    second = graded(slide_file, colour_model, tmp_path / "kept")
    assert second.resumed_tiles == 0
    assert second.heatmap.grade.tolist() == [[1] * 4, [2] * 4]


@pytest.mark.parametrize("damage", ["cut", "no database", "a folder"])
def test_a_damaged_store_ends_no_run_and_is_told(
    slide_file: Path, colour_model: OpenModel, tmp_path: Path, damage: str
) -> None:
    kept = tmp_path / "kept"
    graded(slide_file, colour_model, kept)
    (file,) = kept.iterdir()
    if damage == "cut":
        os.truncate(file, 5000)
    elif damage == "no database":
        file.write_bytes(b"x" * 5000)
    else:
        file.unlink()
        file.mkdir()
    second = graded(slide_file, colour_model, kept)
    assert second.heatmap.graded.all()
    (warning,) = [one for one in second.warnings if "not kept" in one]
    assert file.name in warning


def test_a_folder_that_cannot_be_made_ends_no_run_and_is_told_without_its_name(
    slide_file: Path, colour_model: OpenModel, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    grading = graded(slide_file, colour_model, tmp_path / "file" / "kept")
    assert grading.heatmap.graded.all()
    (warning,) = [one for one in grading.warnings if "not kept" in one]
    assert warning.startswith("results are not kept for another time: ")
    assert str(tmp_path) not in warning


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("probabilities", b""),
        ("probabilities", b"short"),
        ("probabilities", floats(0.5, 0.5)),
        ("probabilities", "text"),
        ("probabilities", floats(5, -3, -1, 0)),
        ("probabilities", floats(1, np.inf, 0, 0)),
        ("probabilities", floats(np.nan, 0, 0, 1)),
        ("probabilities", floats(0.5, 0.4, 0, 0)),
        ("evidence", b"short"),
        ("evidence", floats(*[np.nan] * 16)),
        ('"row"', "text"),
    ],
)
def test_a_damaged_row_is_left_out_and_noted_and_the_others_count(
    tmp_path: Path, caplog, column: str, value: object
) -> None:
    store, kept = ResultStore(tmp_path, "slide.svs", {}), batch(range(5), cells=2)
    store.add(kept)
    spoil(store, 3, column, value)
    found = store.read()
    sound = [0, 1, 2, 4]
    assert found.tiles[:, 0].tolist() == sound
    assert np.array_equal(found.probabilities, kept.probabilities[sound])
    assert np.array_equal(found.evidence, kept.evidence[sound])
    assert "1 of 5 tiles kept in" in caplog.text


def test_a_damaged_tile_is_graded_again(
    slide_file: Path, colour_model: OpenModel, tmp_path: Path
) -> None:
    first = graded(slide_file, colour_model, tmp_path / "kept")
    spoil(first.store, 1, "probabilities", floats(5, -3, np.inf, 0))
    second = graded(slide_file, colour_model, tmp_path / "kept")
    assert second.resumed_tiles == 4
    assert np.array_equal(second.heatmap.probabilities, first.heatmap.probabilities)
    assert graded(slide_file, colour_model, tmp_path / "kept", batches=0).resumed_tiles == 8


KILLED = """
import os, signal, sys
from napari_hmkd import grading
from napari_hmkd.cli.grade import main

plain, batches = grading.grade_slide, []

def grade_slide(*given):
    for batch in plain(*given):
        if len(batches) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        batches.append(batch)
        yield batch

grading.grade_slide = grade_slide
main(sys.argv[1:])
"""


def run_here(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_killed_command_goes_on_and_equals_an_undisturbed_one(
    slide_file: Path, student_file: Path, tmp_path: Path, capsys
) -> None:
    def grade(out: str, program: str) -> subprocess.CompletedProcess[str]:
        options = ["--model", str(student_file), "--batch-size", "2", "--out", str(tmp_path / out)]
        command = [sys.executable, "-c", program, str(slide_file), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert grade("killed", KILLED).returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    arguments = [str(slide_file), "--model", str(student_file), "--batch-size", "2", "--out"]
    assert run_here(*arguments, str(tmp_path / "killed")) == 0
    assert "6 tiles were graded before" in capsys.readouterr().err
    assert run_here(*arguments, str(tmp_path / "whole"), "--fresh") == 0
    tables = [tmp_path / out / slide_file.name / "tiles.csv" for out in ("killed", "whole")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
