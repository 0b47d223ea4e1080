"""Paths that the system refuses to look at end in a message, not in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training.cli import main

TOO_LONG = "a" * 300  # of a file's name; a folder that may not be entered answers alike
TRAIN = ("teacher", "DATA", "--device", "cpu", "--width", "0.25", "--epochs", "1")


@pytest.mark.parametrize(
    "command",
    [
        (*TRAIN, "--out", TOO_LONG),
        (*TRAIN, "--out", TOO_LONG, "--resume"),
        (*TRAIN, "--out", "run", "--cache", TOO_LONG),
        ("teacher", TOO_LONG, "--out", "run"),
        ("evaluate", TOO_LONG, "--student", "demo"),
        ("evaluate", "DATA", "--student", TOO_LONG),
        ("student", "DATA", "--device", "cpu", "--out", "run", "--teacher", TOO_LONG),
        (
            "student",
            "DATA",
            "--device",
            "cpu",
            "--out",
            "run",
            "--method",
            "none",
            "--student",
            "timm:resnet18",
            "--student-weights",
            TOO_LONG,
        ),
        ("compare", f"a={TOO_LONG}", "b=run"),
        ("convert", TOO_LONG, "--role", "student", "--out", "run"),
        ("convert", "checkpoint.pth", "--role", "student", "--out", TOO_LONG),
        ("mkd-predict", "--run", "DATA", "--bags", "DATA", "--out", TOO_LONG),
    ],
    ids=lambda command: f"{command[0]} {command[-2]}"[:40],
)
def test_a_path_that_cannot_be_looked_at_is_told(
    command: tuple[str, ...],
    bci_folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = str(bci_folder(train=16))
    with pytest.raises(SystemExit) as ended:
        main([data if word == "DATA" else word for word in command])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "napari-hmkd-train: " in said
    assert TOO_LONG in said
    assert not (tmp_path / "run").exists()


def test_checked_data_that_cannot_be_looked_at_is_a_problem(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check-data", TOO_LONG])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("napari-hmkd-train: ")
    assert TOO_LONG in said  # "cannot be looked into"; since Python 3.14, no such folder
