"""`napari-hmkd-train features`: bags of slides and folders, going on after a kill, failures told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

from napari_hmkd.bags.bag import find_bags, read_bag, read_header
from napari_hmkd.training.cli import main

PaintSlide = Callable[..., Path]


def features(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["features", *map(str, arguments), "--device", "cpu"])
    return int(ended.value.code or 0)


@pytest.fixture
def slides(tmp_path: Path, paint_slide: PaintSlide) -> Path:
    folder = tmp_path / "Studie 1"
    paint_slide(folder / "a.tif", [[0, 1], [2, -1]])
    paint_slide(folder / "b ä.ome.tif", [[3, 3], [3, 0]])
    return folder


def test_each_slide_of_a_folder_becomes_a_bag_once(
    slides: Path, student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (slides, "--encoder", student_file, "--out", tmp_path / "out")
    assert features(*command) == 0
    bags = find_bags(tmp_path / "out")
    assert {name: read_header(path).patches for name, path in bags.items()} == {"a": 3, "b ä": 4}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.h5", "b ä.h5"}
    before = {name: path.stat().st_mtime_ns for name, path in bags.items()}
    capsys.readouterr()
    assert features(*command) == 0
    assert capsys.readouterr().err.count("skipped") == 2
    assert before == {name: path.stat().st_mtime_ns for name, path in bags.items()}


@pytest.mark.parametrize("changed", ["--fresh", "--min-tissue", "--mpp", "a cut bag"])
def test_a_bag_of_another_kind_is_made_anew(
    changed: str, slides: Path, student_file: Path, tmp_path: Path
) -> None:
    more: dict[str, tuple[object, ...]] = {
        "--fresh": ("--fresh",),
        "--min-tissue": ("--min-tissue", 0.5),
        "--mpp": ("--mpp", 3.9),
    }
    command = (slides / "a.tif", "--encoder", student_file, "--out", tmp_path)
    assert features(*command) == 0
    before = (tmp_path / "a.h5").stat().st_mtime_ns
    if changed == "a cut bag":
        (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:1000])
    assert features(*command, *more.get(changed, ())) == 0
    assert (tmp_path / "a.h5").stat().st_mtime_ns != before
    assert read_header(tmp_path / "a.h5").patches == 3


def test_a_bag_of_another_encoder_is_not_replaced_unasked(
    slides: Path, student_file: Path, other_student_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command = (slides / "a.tif", "--out", tmp_path, "--encoder")
    assert features(*command, student_file) == 0
    before = (tmp_path / "a.h5").read_bytes()
    assert features(*command, other_student_file) == 2
    assert "choose another folder, or --fresh to replace them" in capsys.readouterr().err
    assert (tmp_path / "a.h5").read_bytes() == before
    assert features(*command, other_student_file, "--fresh") == 0
    assert (tmp_path / "a.h5").read_bytes() != before


def test_one_slides_failure_is_told_and_the_others_go_on(
    slides: Path,
    student_file: Path,
    tmp_path: Path,
    paint_slide: PaintSlide,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (slides / "broken.svs").write_bytes(b"no slide")
    paint_slide(slides / "glass.tif", [[-1, -1], [-1, -1]])
    assert features(slides, "--encoder", student_file, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert told.count("error: ") == 2
    assert "broken.svs" in told
    assert "glass.tif" in told
    assert list(find_bags(tmp_path / "out")) == ["a", "b ä"]


def test_tiles_that_cannot_be_read_are_counted(
    tmp_path: Path, paint_slide: PaintSlide, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = paint_slide(tmp_path / "d.tif", [[0, 1], [2, 3]], damaged=[(0, 1)])
    assert features(damaged, "--encoder", student_file, "--out", tmp_path / "out") == 3
    assert "3 patches, 1 could not be read" in capsys.readouterr().err
    assert read_bag(tmp_path / "out" / "d.h5").attributes["failed_patches"] == 1


def test_a_network_of_timm_encodes(slides: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    named = ("--encoder", "timm:test_resnet", "--weights", weights, "--tile-mpp", 4)
    assert features(slides / "a.tif", *named, "--out", tmp_path / "out") == 0
    said = read_bag(tmp_path / "out" / "a.h5").attributes
    assert (said["encoder"], said["mpp"], said["tile_px"]) == ("timm:test_resnet", 4.0, 256)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (("--encoder", "nothing"), "there is no file"),
        (("--encoder", "timm:test_vit"), "give their file with --weights"),
        (("--weights", "w.bin"), "leave them out"),
        (("--batch-size", 0), "at least 1"),
        (("--min-tissue", 2), "tissue fraction"),
        (("--precision", "float8"), "asked for the precision"),
    ],
)
def test_what_cannot_be_meant_ends_before_a_bag(
    wrong: tuple[object, ...],
    reason: str,
    slides: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert features(slides / "a.tif", "--out", tmp_path / "out", *wrong) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_without_slides_and_names_given_twice_are_told(
    slides: Path,
    student_file: Path,
    tmp_path: Path,
    paint_slide: PaintSlide,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    named = ("--encoder", student_file, "--out", tmp_path / "out")
    assert features(tmp_path / "empty", *named) == 2
    assert "there is none in it" in capsys.readouterr().err
    twin = paint_slide(tmp_path / "other" / "A.tiff", [[0]])
    assert features(slides, twin, *named) == 2
    assert "would both be" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_told_before_a_slide_is_opened(
    slides: Path,
    student_file: Path,
    impossible_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delattr("napari_hmkd.planning.open_slide")
    assert features(slides / "a.tif", "--encoder", student_file, "--out", impossible_folder) == 2
    told = capsys.readouterr().err
    assert "asked to write bags to" in told or "embedded null" in told  # the latter is typer's own


def test_a_file_is_no_folder_for_bags(
    slides: Path,
    student_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "out").write_text("a user's")
    monkeypatch.delattr("napari_hmkd.planning.open_slide")
    assert features(slides, "--encoder", student_file, "--out", tmp_path / "out") == 2
    assert "asked to write bags to" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "a user's"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, paint_slide: PaintSlide, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = paint_slide(tmp_path / "s.tif", [[0, 1, 2, 3]] * 6)
    command = [slide, "--encoder", student_file, "--batch-size", 2, "--device", "cpu"]
    assert features(*command, "--out", tmp_path / "whole") == 0
    program = "from napari_hmkd.training.cli import main; main()"
    arguments = [*map(str, command), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen([sys.executable, "-c", program, "features", *arguments])
    while process.poll() is None and not list((tmp_path / "killed").glob(".s.tif-*.sqlite")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "s.h5").exists(), "it was killed too late"
    capsys.readouterr()
    assert features(*command, "--out", tmp_path / "killed") == 0
    bags = [(tmp_path / folder / "s.h5").read_bytes() for folder in ("whole", "killed")]
    assert bags[0] == bags[1]
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["s.h5"]
