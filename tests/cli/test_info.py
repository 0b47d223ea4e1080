"""`napari-hmkd-grade info`: facts about slides, quickly, and without reading their pixels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_hmkd.cli.grade import main
from napari_hmkd.slide import open_slide
from napari_hmkd.slide.description import describe


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "Schnitt ä.tif"
    settings = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
    pixels = np.random.default_rng(0).integers(0, 256, (128, 192, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, resolution=(20_000, 20_000), resolutionunit=3, **settings)
    return path


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    return stop.value.code


def test_every_fact_is_told(slide: Path, capsys: pytest.CaptureFixture[str]):
    assert run("info", slide) == 0
    told = capsys.readouterr().out
    with open_slide(slide) as opened:
        facts = describe(opened)
    assert [line.split("  ")[0] for line in told.splitlines() if line] == list(facts)
    for name in ("file", "dimensions", "pixel size"):
        assert facts[name] in told
    assert "tifffile: a TIFF whose tiles tifffile decodes" in told


def test_no_line_is_cut_or_wrapped(slide: Path, capsys: pytest.CaptureFixture[str]):
    far = slide.parent / ("long " * 40).strip() / slide.name
    far.parent.mkdir()
    slide.rename(far)
    assert run("info", far) == 0
    assert str(far.parent) in capsys.readouterr().out


def test_damaged_pixels_do_not_matter(slide: Path, capsys: pytest.CaptureFixture[str]):
    with tifffile.TiffFile(slide) as tiff:
        offsets = tiff.pages[0].dataoffsets
    with slide.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(b"damaged!")
    assert run("info", slide) == 0


def test_a_bad_slide_does_not_keep_the_others_from_being_told(
    tmp_path: Path, slide: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "bad.svs").write_bytes(b"no slide")
    assert run("info", tmp_path / "bad.svs", tmp_path / "missing.svs", slide) == 2
    told = capsys.readouterr()
    assert slide.name in told.out
    assert ["error: " in line for line in told.err.splitlines()] == [True, True]
    assert "bad.svs" in told.err
    assert "missing.svs" in told.err


@pytest.mark.parametrize(("backend", "code"), [("openslide", 0), ("zarr", 2), ("none", 2)])
def test_a_back_end_can_be_insisted_on(
    slide: Path, capsys: pytest.CaptureFixture[str], backend: str, code: int
):
    assert run("info", slide, "--backend", backend) == code
    told = capsys.readouterr()
    assert f"{backend}: asked for" in told.out if code == 0 else "tifffile" in told.err


def test_a_store_on_a_server(tmp_path: Path, write_zarr, serve, capsys: pytest.CaptureFixture[str]):
    write_zarr(tmp_path / "a.ome.zarr", [np.zeros((64, 64, 3), np.uint8)])
    with serve(tmp_path) as server:
        assert run("info", f"{server.url}/a.ome.zarr") == 0
    told = capsys.readouterr().out
    assert "a.ome.zarr" in told
    assert server.url in told


@pytest.mark.parametrize("arguments", [["info"], ["info", "--no-such-option"]])
def test_wrong_use_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(*arguments) == 2
    assert "napari-hmkd-grade info" in capsys.readouterr().err


def test_a_slide_called_info_can_be_graded_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "info").write_bytes(b"no slide")
    monkeypatch.chdir(tmp_path)
    assert run("./info", "--out", tmp_path / "out", "--device", "cpu") == 2
    assert "no slide: OpenSlide" in capsys.readouterr().err


def test_the_help_of_grading_names_info(capsys: pytest.CaptureFixture[str]):
    assert run("--help") == 0
    told = capsys.readouterr().out
    assert "--out" in told
    assert "info" in told


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["info", "--help"], ["info", "{slide}"], ["export-wsinfer", "--help"]],
)
def test_torch_is_not_loaded(slide: Path, arguments: list[str]):
    program = (
        "import sys\n"
        "from napari_hmkd.cli.grade import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print('loaded:', [m for m in ('torch', 'napari') if m in sys.modules])"
    )
    words = [word.format(slide=slide) for word in arguments]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},  # Windows has another one for pipes
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("loaded: []")
