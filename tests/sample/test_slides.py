from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import tifffile

from napari_hmkd.geometry import Size
from napari_hmkd.sample import ProceduralTissue, sample_slide, slides, write_slide

MPP = 0.92


@pytest.fixture(scope="module")
def tissue() -> ProceduralTissue:
    return ProceduralTissue(3, (1100 * MPP, 1530 * MPP))


@pytest.fixture(scope="module")
def slide(tissue: ProceduralTissue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("Präparat mit Leerzeichen") / "schnitt 1.ome.tif"
    write_slide(path, tissue, "he", MPP)
    return path


def test_a_written_slide_is_a_tiled_pyramid_with_its_pixel_size(slide: Path) -> None:
    with tifffile.TiffFile(slide) as file:
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(1100, 1530, 3), (550, 765, 3)]
        assert all(level.keyframe.is_tiled for level in levels)
        assert f'PhysicalSizeX="{MPP}"' in file.ome_metadata


def test_a_written_slide_shows_the_drawn_tissue(slide: Path, tissue: ProceduralTissue) -> None:
    drawn = tissue.render("he", (300 * MPP, 900 * MPP), Size(200, 500), MPP).astype(float)
    with tifffile.TiffFile(slide) as file:
        full, half = (level.asarray().astype(float) for level in file.series[0].levels)
    assert np.abs(full[300:500, 900:1400] - drawn).mean() < 5
    mean = full[:1100, :1530].reshape(550, 2, 765, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - mean).mean() < 5


def test_progress_reaches_one_and_nothing_but_the_slide_is_left(
    tissue: ProceduralTissue, tmp_path: Path
) -> None:
    seen: list[float] = []
    write_slide(tmp_path / "ihc.ome.tif", tissue, "ihc", MPP, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["ihc.ome.tif"]


def test_a_failure_leaves_no_half_written_slide(tissue: ProceduralTissue, tmp_path: Path) -> None:
    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_slide(tmp_path / "he.ome.tif", tissue, "he", MPP, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_kept_of_an_interrupted_sample_goes_when_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    unlink = os.unlink

    def unlink_on_windows(path: str | Path, **options: int) -> None:
        if os.path.basename(path) == "slide.ome.tif":
            raise PermissionError("another program looks into it")
        unlink(path, **options)

    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    monkeypatch.setattr(slides, "SAMPLE_SIZE", Size(200, 1100))
    with monkeypatch.context() as on_windows:
        on_windows.setattr(os, "unlink", unlink_on_windows)
        with pytest.raises(KeyboardInterrupt):
            sample_slide(interrupt)
    left = list(tmp_path.rglob("*"))
    assert [one.name for one in left if one.is_file()] == ["slide.ome.tif"]
    for one in left:
        os.utime(one, (0, 0))
    pair = sample_slide()
    assert set(tmp_path.iterdir()) == {pair.he, pair.ihc}


def test_a_full_disk_is_told_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    """On a disk of its own, as no limit of a process makes the system refuse a page of a file."""
    draw = (
        "import os, sys; from pathlib import Path; from napari_hmkd.geometry import Size\n"
        "from napari_hmkd.sample import sample_slide, slides\n"
        "slides.SAMPLE_SIZE = Size(1024, 2048)\n"
        "try: sample_slide()\n"
        "except Exception as error: print(error, os.listdir(os.environ['XDG_CACHE_HOME'] + '/napari-hmkd'))\n"
    )
    mount = 'mount -t tmpfs -o size=300k tmpfs "$XDG_CACHE_HOME" && exec "$@"'
    within = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or run_at(tmp_path, *within, "true").returncode:
        pytest.skip("needs the right to mount a small disk")
    drawn = run_at(tmp_path, *within, sys.executable, "-c", draw)
    assert "asked for the sample slide" in drawn.stdout, drawn
    assert "No space left on device" in drawn.stdout
    assert drawn.stdout.endswith(" []\n")


def run_at(cache: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_section_too_small_for_a_pyramid_is_one_level(tmp_path: Path) -> None:
    path = tmp_path / "small.ome.tif"
    write_slide(path, ProceduralTissue(3, (400.0, 500.0)), "he", 1.0)
    with tifffile.TiffFile(path) as file:
        assert [level.shape for level in file.series[0].levels] == [(400, 500, 3)]
