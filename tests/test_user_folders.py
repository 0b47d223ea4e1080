"""Where a user's files are kept, and what a user without a home is told: containers often have such ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_hmkd.cli.grade import main
from napari_hmkd.errors import OutputError
from napari_hmkd.sample import sample_slide
from napari_hmkd.user_folders import Kind, user_folder

VARIABLES = {"data": "XDG_DATA_HOME", "cache": "XDG_CACHE_HOME", "config": "XDG_CONFIG_HOME"}


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user whom the system does not know, without HOME."""
    pwd = pytest.importorskip("pwd", reason="on Windows each user has a home")

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", *VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(("kind", "variable"), VARIABLES.items(), ids=VARIABLES)
def test_without_a_home_no_folder_is_guessed_and_a_variable_names_one(
    kind: Kind, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match=f"no home folder; set HOME or {variable}"):
        user_folder(kind)
    monkeypatch.setenv(variable, str(tmp_path / "näher"))
    assert user_folder(kind).parent == tmp_path / "näher"


@pytest.mark.usefixtures("homeless")
def test_a_tilde_that_platformdirs_left_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As older ones leave it: a folder of that name would be made where the program runs."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: Path("~/.local/share", name))
    with pytest.raises(OutputError, match="no home folder"):
        user_folder("data")


@pytest.mark.usefixtures("homeless", "undrawn_figures")
@pytest.mark.parametrize("command", ["grade", "biomarkers"])
def test_without_a_home_slides_are_done_and_their_tiles_are_not_kept(
    command: str,
    tmp_path: Path,
    paint_slide: Callable[..., Path],
    student_file: Path,
    biomarkers_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slide = paint_slide(tmp_path / "slide.tif", [[0, 1], [2, 3]])
    models = {
        "grade": ["--model", student_file],
        "biomarkers": ["biomarkers", "--model", biomarkers_file, "--encoder", student_file],
    }
    words = [slide, "--out", tmp_path / "out", "--device", "cpu"]
    with caplog.at_level(logging.WARNING), pytest.raises(SystemExit) as ended:
        main([*map(str, models[command]), *map(str, words)])
    assert ended.value.code == 0
    assert "are not kept for another time: this user has no home folder; set HOME" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["out", "slide.tif"]


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_sample_slide_is_refused() -> None:
    with pytest.raises(OutputError, match="set HOME or XDG_CACHE_HOME"):
        sample_slide()
