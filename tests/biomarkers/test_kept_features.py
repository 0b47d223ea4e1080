"""Features that are kept have bounded room: which make way for others, and which never do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.biomarkers import slide as biomarkers
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.feature_store import FeatureStore
from napari_hmkd.biomarkers.kept_features import KeptFeatures
from napari_hmkd.biomarkers.prediction import open_biomarkers
from napari_hmkd.errors import OutputError
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import Slide

SETTINGS = GradeSettings(batch_size=3, device="cpu")
Kept = Callable[[str], KeptFeatures]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Merkmale ä"


@pytest.fixture
def kept(folder: Path) -> Kept:
    """The features of a slide of this name."""
    return lambda name: KeptFeatures(folder, name, {})


@pytest.fixture
def size_bytes(kept: Kept) -> int:
    """After slides a, b and c were encoded, in this order, an hour between: size of one's features."""
    for hour, name in enumerate("abc"):
        store = kept(name)
        store.add(np.array([[0, 1], [2, 3]]), np.ones((2, 2000), np.float32))
        os.utime(store.path, (3600 * hour, 3600 * hour))
    return store.path.stat().st_size


def left(folder: Path) -> str:
    """First letters of the slides whose features are there."""
    return "".join(sorted(path.name[0] for path in folder.glob("*.sqlite")))


@pytest.mark.parametrize(
    ("sizes", "there"), [(3, "abc"), (2.9, "bc"), (2, "bc"), (1, "c"), (0, "")]
)
def test_the_least_recently_used_make_way_when_another_slide_is_begun(
    sizes: float, there: str, kept: Kept, folder: Path, size_bytes: int
) -> None:
    kept("new").begin(int(sizes * size_bytes))
    assert left(folder) == there


def test_features_that_are_used_again_are_recent(kept: Kept, folder: Path, size_bytes: int) -> None:
    again = kept("a")
    again.begin(3 * size_bytes)
    tiles, features = again.read()
    assert (tiles.tolist(), features.shape) == ([[0, 1], [2, 3]], (2, 2000))
    again.end()
    kept("new").begin(size_bytes)
    assert left(folder) == "a"


def test_what_is_in_use_stays_until_the_last_run_is_done_with_it(
    kept: Kept, folder: Path, size_bytes: int
) -> None:
    first, second = kept("a"), kept("a")
    first.begin(3 * size_bytes)
    second.begin(3 * size_bytes)
    first.end()
    kept("new").begin(0)
    assert left(folder) == "a"
    second.end()
    kept("new").begin(0)
    assert left(folder) == ""


def test_what_nobody_refers_to_any_more_is_no_longer_in_use(
    kept: Kept, folder: Path, size_bytes: int
) -> None:
    stopped = kept("a")
    stopped.begin(3 * size_bytes)
    del stopped
    kept("new").begin(0)
    assert left(folder) == ""


UNDER_WAY = """
import sys, pathlib, numpy
from napari_hmkd.biomarkers.kept_features import KeptFeatures
store = KeptFeatures(pathlib.Path(sys.argv[1]), "half", {})
store.begin(10**9)
store.add(numpy.array([[0, 1]]), numpy.ones((1, 9), numpy.float32))
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_half_written_features_of_another_process_stay_until_it_is_killed(
    kept: Kept, folder: Path, size_bytes: int
) -> None:
    command = [sys.executable, "-c", UNDER_WAY, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"written"
        os.utime(kept("half").path, (0, 0))  # the oldest of all
        kept("new").begin(0)
        assert left(folder) == "h"
        process.kill()
    kept("new").begin(0)
    assert left(folder) == ""


def test_removed_features_leave_nothing_behind_and_other_files_stay(
    kept: Kept, folder: Path, size_bytes: int
) -> None:
    for name in "ab":
        kept(name).begin(3 * size_bytes)
    path = kept("a").path
    path.with_name(f"{path.name}-journal").touch()  # of a run that was killed as it wrote
    (folder / "mine.txt").touch()
    new = kept("new")
    new.begin(0)
    new.end()
    shown = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    assert shown == {"mine.txt", f"{new.path.name}.use"}


def test_a_folder_that_cannot_be_is_told(impossible_folder: Path) -> None:
    with pytest.raises(OutputError, match="asked to keep tiles in"):
        KeptFeatures(impossible_folder, "a", {}).begin(0)


def test_a_run_has_its_features_in_use_to_its_end_and_bounds_the_others(
    slide: Slide,
    encoder: Encoder,
    biomarkers_file: Path,
    kept: Kept,
    folder: Path,
    size_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(biomarkers, "MOST_KEPT_BYTES", size_bytes)
    model = open_biomarkers(biomarkers_file)
    run = biomarkers.start_biomarkers(slide, model, encoder, SETTINGS, kept_in=folder)
    assert left(folder) == "c"
    batches = run.run()
    next(batches)
    kept("new").begin(0)
    assert left(folder) == slide.name[0]
    assert sum(len(batch.tiles) for batch in batches) == 5
    assert len(run.predictions) == 2
    kept("new").begin(0)
    assert left(folder) == ""


def test_a_slide_is_judged_where_features_cannot_be_kept(
    slide: Slide, encoder: Encoder, biomarkers_file: Path, impossible_folder: Path
) -> None:
    model = open_biomarkers(biomarkers_file)
    run = biomarkers.start_biomarkers(slide, model, encoder, SETTINGS, kept_in=impossible_folder)
    assert sum(len(batch.tiles) for batch in run.run()) == 8
    assert len(run.predictions) == 2
    assert "not kept for another time" in run.warnings[-1]
    assert str(impossible_folder) not in run.warnings[-1], "results carry no folder"


def test_a_slides_features_may_lie_in_a_folder_of_bags_without_locks(folder: Path) -> None:
    store = FeatureStore(folder, ".a", {})
    store.add(np.array([[0, 1]]), np.ones((1, 9), np.float32))
    assert [entry.name for entry in folder.iterdir()] == [store.path.name]
    store.remove()
    assert list(folder.iterdir()) == []
