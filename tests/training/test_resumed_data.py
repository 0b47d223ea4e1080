"""A run goes on with the tiles, grades, patients and parts of its start, and with no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_hmkd.wording import GRADE_NAMES

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.training.config import (
    DistillationSettings,
    EngineSettings,
    ExportSettings,
    Method,
    ParallelComputeSettings,
    StoredDataSettings,
    TrainSettings,
)
from napari_hmkd.training.run import RunFolder
from napari_hmkd.training.run_plan import RunPlan
from napari_hmkd.training.splits import Split
from napari_hmkd.training.tiles import Tile
from napari_hmkd.training.workflow import require_same_data, train

SETTINGS = {"role": "student"}
TILES = [
    Tile(f"Präparat {n}.png", n % 4 if n else None, f'"P", {n % 4}' if n % 4 else None)
    for n in range(8)
]


def split_of(tiles: list[Tile], test: int = 2) -> Split:
    """The first two tiles train, the last ones test."""
    held, tested = np.split(np.arange(len(tiles)), [len(tiles) - test])
    return Split(held[:2], held[2:4], held[4:], tested, "as given")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that was started with `TILES`."""
    nothing = [(None, None)] * len(TILES)
    RunFolder(tmp_path / "Lauf").create(SETTINGS, split_of(TILES), TILES, nothing, None)
    return RunFolder(tmp_path / "Lauf", resume=True)


def test_the_data_of_the_start_is_known_again(folder: RunFolder) -> None:
    folder.require_same(SETTINGS, split_of(TILES), TILES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"grade": 3}, "grade 1, now 3"),
        ({"grade": None}, "grade 1, now none"),
        ({"patient": "B"}, 'patient "P", 1, now B'),
        ({"patient": None}, 'patient "P", 1, now none'),
        ({"grade": 0, "patient": "B"}, 'patient "P", 1, now B, grade 1, now 0'),
    ],
)
def test_another_grade_or_patient_of_one_tile_is_refused_and_named(
    folder: RunFolder, change: dict[str, object], told: str
) -> None:
    tiles = [replace(tile, **change) if n == 5 else tile for n, tile in enumerate(TILES)]
    with pytest.raises(DataError) as raised:
        folder.require_same(SETTINGS, split_of(tiles), tiles)
    assert f"split.csv says (Präparat 5.png: {told})" in str(raised.value)


def test_another_part_is_refused_and_named(folder: RunFolder) -> None:
    with pytest.raises(DataError, match=r"Präparat 5\.png: split calibration, now test"):
        folder.require_same(SETTINGS, split_of(TILES, test=3), TILES)


def test_what_moved_tiles_to_other_parts_is_named_before_them(folder: RunFolder) -> None:
    tiles = [*TILES[:7], replace(TILES[7], patient="B")]
    with pytest.raises(DataError, match=r"says \(Präparat 7\.png: patient .*; Präparat 5"):
        folder.require_same(SETTINGS, split_of(tiles, test=3), tiles)


@pytest.mark.parametrize(
    ("tiles", "told"),
    [
        ([*TILES[:5], *TILES[6:]], "Präparat 5.png: tile Präparat 5.png, now none,"),
        ([*TILES[:5], Tile("neu.png", 0), *TILES[5:]], "neu.png: tile none, now neu.png,"),
    ],
    ids=["less", "more"],
)
def test_a_tile_more_or_less_is_refused_and_it_alone_is_named(
    folder: RunFolder, tiles: list[Tile], told: str
) -> None:
    with pytest.raises(DataError) as raised:
        folder.require_same(SETTINGS, split_of(tiles), tiles)
    assert told in str(raised.value)
    assert str(raised.value).count(".png: ") == 1


def test_rendered_tiles_of_another_signature_are_refused(folder: RunFolder, random_source) -> None:
    random_source.renders, random_source.tiles = True, TILES
    plan = RunPlan(TrainSettings(), random_source, split_of(TILES), None, None, SETTINGS)
    with pytest.raises(DataError, match=r"data is no longer that with which .* 8 of 8 tiles have"):
        require_same_data(plan, folder, renew=True)
    folder.renew({"source_identity": plan.data_digest})
    require_same_data(plan, folder, renew=False)


@pytest.mark.parametrize("column", ["tile", "he_digest", "ihc_digest"])
def test_a_split_without_a_column_is_refused_with_what_helps(
    folder: RunFolder, column: str
) -> None:
    path = folder.path / "split.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(column, "else", 1), encoding="utf-8")
    with pytest.raises(OutputError, match=f"cannot be resumed.*'{column}'.*in a new folder"):
        folder.digests(TILES)


def test_of_many_changes_the_first_are_shown_and_the_others_counted(folder: RunFolder) -> None:
    tiles = [replace(tile, patient="A") for tile in TILES]
    with pytest.raises(DataError) as raised:
        folder.require_same(SETTINGS, split_of(tiles), tiles)
    text = str(raised.value)
    assert text.count("now A") == 3
    assert "; and 5 more)" in text


@pytest.fixture
def manifest(data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Lists the pairs of `data`, of five patients who each have one part, as columns tell."""
    parts = ("train", "train", "validation", "calibration", "test")

    def write(shift: int = 0, patient: str = "P{}") -> Path:
        lines = ["he,ihc,grade,patient,split"]
        for n, he in enumerate(sorted(data.glob("HE/*/*.png"))):
            ihc = data / "IHC" / he.relative_to(data / "HE")
            grade, owner = GRADE_NAMES[(n + shift) % 4], patient.format(n // 4)
            lines.append(f"{he},{ihc},{grade},{owner},{parts[n // 4]}")
        path = tmp_path / "Liste.csv"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_here")
def test_a_relabelled_manifest_is_refused_by_resume_and_no_leak_comes_in(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    settings = TrainSettings(
        data=StoredDataSettings(mpp=0.5),
        distillation=DistillationSettings(method=Method.NONE),
        engine=EngineSettings(epochs=1),
        compute=ParallelComputeSettings(batch_size=4, device="cpu"),
        export=ExportSettings(width=0.25),
    )
    out = tmp_path / "Lauf"

    def resumed() -> Path | None:
        data = str(tmp_path / "Liste.csv")
        return train(data, out, settings, role="student", resume=True)

    manifest()
    assert resumed() == out / "student.safetensors"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    manifest(shift=1)
    with pytest.raises(DataError, match=r"grade 0, now 1.*and 17 more"):
        resumed()
    manifest(patient="the same")  # in all parts: a leak that resuming would not look for
    with pytest.raises(DataError, match="patient P0, now the same"):
        resumed()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    manifest()
    assert resumed() == out / "student.safetensors"


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_in_place_of_the_run_folder_is_called_one(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "Lauf").touch()
    with pytest.raises(OutputError, match="Lauf is a file, and a run needs a folder: name a new"):
        RunFolder(tmp_path / "Lauf", resume=resume).require_usable()
