"""What the Train panel asks for, as the command line that does it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from napari_hmkd.errors import DataError, HmkdError, ModelError, OutputError

PROGRAM = (sys.executable, "-m", "napari_hmkd.training.cli")
PROCEDURAL = "procedural"
ROLES = ("teacher", "student")
_SAID = "napari-hmkd-train: "  # what the command's own messages begin with
_FIELDS = {
    "--out": "Run folder",
    "--teacher": "Teacher file",
    "--epochs": "Epochs",
    "--batch-size": "Batch size",
    "--device": "Device",
}
_ASKED = ("SIGHUP", "SIGINT", "SIGTERM", "SIGKILL")  # others are a program's own crash
_SIGNAL = 128  # a shell's exit codes above it stand for signals
_PLAIN = re.compile(r"[\w%+./:=\\-]+")
_BOX = "─│╭╮╰╯ \t"


@dataclass(frozen=True)
class TrainRequest:
    """One training run.

    Attributes
    ----------
    role : str
        "teacher" or "student".
    data : str
        A folder, a manifest file or "procedural".
    teacher : Path or None
        The finished teacher's file, for a student.
    out : Path or None
        The run folder; None while it is not chosen.
    epochs, batch_size : int
    device : str
    more : str
        Further options, quoted as in a shell.
    """

    role: str
    data: str
    teacher: Path | None
    out: Path | None
    epochs: int
    batch_size: int
    device: str
    more: str = ""

    @property
    def weights(self) -> Path:
        """The file that a finished run leaves."""
        return self._folder() / f"{self.role}.safetensors"

    @property
    def metrics(self) -> Path:
        """The table of curves that the run writes."""
        return self._folder() / "metrics.csv"

    @property
    def attention(self) -> Path:
        """The folder of pictures that a student that learns attention adds to after each epoch."""
        return self._folder() / "attention"

    @property
    def finished(self) -> str:
        """What the folder's finished run has built, "" where none ended; scores are written last."""
        built = [role for role in ROLES if (self._folder() / f"{role}.safetensors").is_file()]
        return built[0] if built and (self._folder() / "evaluation.json").is_file() else ""

    @property
    def resumes(self) -> bool:
        """Whether the folder holds an unfinished run, which goes on."""
        return self.out is not None and self._begun() and not self.finished

    def arguments(self) -> list[str]:
        """The arguments after the program.

        Raises
        ------
        HmkdError
            If the further options cannot be split, or would lead the run elsewhere.
        """
        taught = [] if self.teacher is None else ["--teacher", str(self.teacher)]
        return [
            self.role, self.data or "DATA", "--out", str(self.out or "RUN"), "--resume", *taught,
            "--epochs", str(self.epochs), "--batch-size", str(self.batch_size),
            "--device", self.device, *self.options(),
        ]  # fmt: skip

    def options(self) -> list[str]:
        """The further options, split.

        Raises
        ------
        HmkdError
            As `arguments`.
        """
        options = split_words(self.more)
        for name, field in _FIELDS.items():
            if any(word.split("=")[0] == name for word in options):
                raise OutputError(
                    f"{name} stands among the further options: fill in '{field}' above"
                )
        return options

    def check(self) -> None:
        """Refuse what cannot work before a process is started.

        Raises
        ------
        DataError
            If the data are not there.
        ModelError
            If a student lacks its teacher.
        OutputError
            If the run folder is missing, taken or finished.
        HmkdError
            If the further options cannot be split.
        """
        if not self.data:
            raise DataError("choose the folder or the manifest file to train on")
        if self.data != PROCEDURAL and not Path(self.data).exists():
            raise DataError(f"asked to train on {self.data}, but it does not exist")
        self._check_teacher()
        self._check_folder()

    def _check_teacher(self) -> None:
        if self.role != "student":
            return
        if self.teacher is None and not _learns_alone(self.options()):
            raise ModelError(
                "a student needs its teacher: choose the finished teacher's file, "
                "or add --method none to train it alone"
            )
        if self.teacher is not None and not self.teacher.is_file():
            raise ModelError(f"the teacher's file {self.teacher} does not exist")

    def _check_folder(self) -> None:
        folder = self._folder()
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file: name a new folder for the run")
        if self.finished:
            raise OutputError(f"{folder} holds a finished {self.finished}: name a new folder")
        if folder.is_dir() and any(folder.iterdir()) and not self._begun():
            raise OutputError(f"{folder} is not empty and holds no run: name a new folder")

    def _begun(self) -> bool:
        return (self._folder() / "settings.json").is_file()

    def _folder(self) -> Path:
        if self.out is None:
            raise OutputError("name a new folder for the run")
        return self.out


def split_words(text: str) -> list[str]:
    r"""Words of a command line, quoted as in a shell; on Windows a backslash is a letter.

    Raises
    ------
    HmkdError
        If a quotation mark is left open.
    """
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    if os.name == "nt":
        lexer.escape = ""
    try:
        return list(lexer)
    except ValueError as error:
        raise HmkdError(f"the further options {text!r} cannot be read: {error}") from error


def shell_line(command: Sequence[str]) -> str:
    """A command as a person types it into this machine's shell."""
    return " ".join(map(_windows_word, command)) if os.name == "nt" else shlex.join(command)


def _windows_word(word: str) -> str:
    """A word in quotation marks where a shell of Windows would end it early, as at the & of R&D."""
    quoted = subprocess.list2cmdline([word])
    if '"' in quoted or _PLAIN.fullmatch(word):
        return quoted
    # Before the closing mark, a backslash counts only when it is doubled.
    return '"' + word + "\\" * (len(word) - len(word.rstrip("\\"))) + '"'


def own_message(lines: Sequence[str]) -> str:
    """What a failed command said about it: its own message, else the last line with words.

    Parameters
    ----------
    lines : sequence of str
        The last lines of its output.
    """
    for index in reversed(range(len(lines))):
        if lines[index].startswith(_SAID):
            return "\n".join(lines[index:]).removeprefix(_SAID).strip()
    # typer draws a box around what it says of a wrong option.
    words = [line.strip(_BOX) for line in lines]
    said = [line for line in words if line]
    return said[-1] if said else "it said nothing"


def ended_by(code: int) -> str:
    """Of a command that was ended from outside, the signal; else "". Exit code 128 + n stands for signal n."""
    try:
        name = signal.Signals(code - _SIGNAL).name
    except ValueError:
        return ""
    if name not in _ASKED:
        return ""
    return f"{name}, as the system does where memory runs out" if name == "SIGKILL" else name


def _learns_alone(options: Sequence[str]) -> bool:
    return "--method=none" in options or ("--method", "none") in pairwise(options)
