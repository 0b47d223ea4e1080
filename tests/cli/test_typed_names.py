"""Names with * and ?, which shells of Windows leave to programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from napari_hmkd.cli.grade import main
from napari_hmkd.cli.options import typed_words


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A folder with three slides in which something is typed, on Windows."""
    for name in ("a.svs", "b.svs", "c [1].svs"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    return monkeypatch


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("*.svs", ["a.svs", "b.svs", "c [1].svs"]),
        ("?.svs", ["a.svs", "b.svs"]),
        ("c [1].*", ["c [1].svs"]),
        ("[ab].svs", ["[ab].svs"]),
        ("*.ndpi", ["*.ndpi"]),
        ("https://host/slide.zarr?key=1", ["https://host/slide.zarr?key=1"]),
    ],
)
def test_a_pattern_stands_for_the_files_that_match_it(
    word: str, meant: list[str], typed: pytest.MonkeyPatch
) -> None:
    typed.setattr(sys, "argv", ["program", word, "--out", "results"])
    assert typed_words() == [*meant, "--out", "results"]


def test_elsewhere_the_shell_has_done_it(typed: pytest.MonkeyPatch) -> None:
    typed.setattr(sys, "platform", "linux")
    typed.setattr(sys, "argv", ["program", "*.svs"])
    assert typed_words() == ["*.svs"]


def test_the_command_takes_them(
    typed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed.setattr(sys, "argv", ["napari-hmkd-grade", "info", "?.svs"])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert "a.svs" in said
    assert "b.svs" in said
