from __future__ import annotations

import subprocess
import sys
from ast import literal_eval
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_hmkd.errors import DataError, HmkdError, ModelError, OutputError
from napari_hmkd.widgets import train_command
from napari_hmkd.widgets.train_command import (
    TrainRequest,
    ended_by,
    own_message,
    shell_line,
    split_words,
)


@pytest.fixture
def request_of_all(tmp_path: Path) -> TrainRequest:
    data, teacher = tmp_path / "BCI&Daten", tmp_path / "Lehrer.safetensors"
    data.mkdir()
    teacher.touch()
    return TrainRequest(
        role="student",
        data=str(data),
        teacher=teacher,
        out=tmp_path / "neuer Lauf",
        epochs=3,
        batch_size=2,
        device="cpu",
        more="--name 'my student' --cosine 0",
    )


def test_the_command_line_says_what_was_asked_and_can_be_pasted(
    request_of_all: TrainRequest,
) -> None:
    arguments = request_of_all.arguments()
    request_of_all.check()
    assert arguments == [
        "student", request_of_all.data, "--out", str(request_of_all.out), "--resume",
        "--teacher", str(request_of_all.teacher), "--epochs", "3", "--batch-size", "2",
        "--device", "cpu", "--name", "my student", "--cosine", "0",
    ]  # fmt: skip
    told = [sys.executable, "-c", "import sys; print(sys.argv[1:])", *arguments]
    typed = subprocess.run(shell_line(told), shell=True, check=True, capture_output=True, text=True)
    assert literal_eval(typed.stdout) == arguments


def test_what_shells_of_windows_read_otherwise_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_command, "os", SimpleNamespace(name="nt"))
    words = ["student", r"C:\R&D\BCI", "--out", "C:\\R&D\\", r"D:\new run", "--name=a", "(b)", ""]
    typed = r'''student "C:\R&D\BCI" --out "C:\R&D\\" "D:\new run" --name=a "(b)" ""'''
    assert shell_line(words) == typed


def _check_and_spell(request: TrainRequest) -> None:
    request.check()
    request.arguments()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"data": ""}, DataError, "choose the folder"),
        ({"data": "/no/such folder"}, DataError, "/no/such folder"),
        ({"teacher": None}, ModelError, "needs its teacher"),
        ({"teacher": None, "more": ""}, ModelError, "needs its teacher"),
        ({"teacher": Path("/no/teacher")}, ModelError, "no.teacher does not exist"),
        ({"out": None}, OutputError, "new folder"),
        ({"more": "--name 'open"}, HmkdError, "cannot be read"),
        ({"more": "--out elsewhere"}, OutputError, "--out"),
        ({"more": "--out=elsewhere"}, OutputError, "--out"),
        ({"more": "--epochs 5"}, OutputError, "--epochs stands among .*: fill in 'Epochs' above"),
        ({"more": "--batch-size=2"}, OutputError, "'Batch size'"),
        ({"more": "--device cpu"}, OutputError, "'Device'"),
    ],
)
def test_what_cannot_work_is_refused(
    request_of_all: TrainRequest, change: dict, error: type[Exception], words: str
) -> None:
    bad = replace(request_of_all, **change)
    with pytest.raises(error, match=words):
        _check_and_spell(bad)


@pytest.mark.parametrize(
    ("code", "by"),
    [(130, "SIGINT"), (143, "SIGTERM"), (137, "SIGKILL"), (139, ""), (134, ""), (1, "")],
)
def test_who_was_ended_from_outside_is_no_program_that_crashed(code: int, by: str) -> None:
    assert ended_by(code).startswith(by) if by else not ended_by(code)


@pytest.mark.parametrize("more", ["--method none", "--seed 1 --method=none"])
def test_a_student_without_a_lesson_needs_no_teacher(
    request_of_all: TrainRequest, more: str
) -> None:
    replace(request_of_all, teacher=None, more=more).check()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["student.safetensors", "settings.json", "evaluation.json"], "finished student"),
        (["teacher.safetensors", "settings.json", "evaluation.json"], "finished teacher"),
        (["holiday.jpg"], "holds no run"),
    ],
)
def test_a_folder_that_is_taken_is_refused(
    request_of_all: TrainRequest, names: list[str], words: str
) -> None:
    request_of_all.out.mkdir()
    for name in names:
        (request_of_all.out / name).touch()
    with pytest.raises(OutputError, match=words):
        request_of_all.check()
    assert not request_of_all.resumes


def test_an_unfinished_run_goes_on(request_of_all: TrainRequest) -> None:
    assert not request_of_all.resumes
    request_of_all.out.mkdir()
    for name in ("settings.json", "student.safetensors"):  # killed before it was scored
        (request_of_all.out / name).touch()
    request_of_all.check()
    assert request_of_all.resumes


def test_words_are_split_as_in_a_shell() -> None:
    assert split_words("--name 'a b' --cache \"c d\" #1") == [
        "--name", "a b", "--cache", "c d", "#1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["12 tiles", "napari-hmkd-train: no pairs in /x", "Name another."], "no pairs in /x\nName another."),
        (["╭─ Error ───╮", "│ No such option: --sed   │", "╰───╯", ""], "No such option: --sed"),
        (["Traceback ...", "ValueError: nonsense"], "ValueError: nonsense"),
        ([], "it said nothing"),
    ],
)  # fmt: skip
def test_a_failure_is_told_in_the_commands_own_words(lines: list[str], message: str) -> None:
    assert own_message(lines) == message
