"""The commands of the evidence, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training import cli
from napari_hmkd.training.mkd.cohort.writing import CohortFiles
from napari_hmkd.training.mkd.evidence import runner


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(map(str, arguments)))
    return int(ended.value.code or 0)


def test_a_cohort_is_drawn_as_asked(tmp_path: Path, student_file: Path, capsys) -> None:
    out = tmp_path / "drawn"
    asked = ("--patients", 2, "--tiles-per-patient", 1, "--jobs", 1, "--encoder", student_file)
    assert run("mkd-cohort", out, *asked) == 0
    assert sorted(path.name for path in CohortFiles(out).bags.iterdir()) == ["P0000.h5", "P0001.h5"]
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--patients", "--tiles-per-patient"])
def test_an_empty_cohort_is_refused(tmp_path: Path, option: str, capsys) -> None:
    assert run("mkd-cohort", tmp_path / "drawn", option, 0) == 2
    assert f"{option} must be at least 1" in capsys.readouterr().err


def test_evidence_that_needs_another_call_says_so_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter((False, True))
    monkeypatch.setattr(runner, "run_evidence", lambda *a, **k: next(answers))
    assert run("mkd-evidence", tmp_path, "--quick") == 3
    assert run("mkd-evidence", tmp_path, "--quick") == 0


@pytest.mark.parametrize("minutes", ["nan", "-1"])
@pytest.mark.parametrize(
    "command", ["experiment {} --quick", "mkd-evidence {} --quick", "mkd-her2st nowhere {}"]
)
def test_minutes_that_never_end_or_never_begin_are_refused(
    tmp_path: Path, command: str, minutes: str, capsys
) -> None:
    out = tmp_path / "out"
    given = [str(out) if word == "{}" else word for word in command.split()]
    assert run(*given, "--minutes", minutes) == 2
    assert f"--minutes must be at least 0, got {minutes}" in capsys.readouterr().err
    assert not out.exists()


def test_missing_spots_are_named(tmp_path: Path, capsys) -> None:
    assert run("mkd-her2st", tmp_path, tmp_path / "out") == 2
    assert "spots.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
