"""`napari-hmkd-train mkd` and `mkd-predict` on the command line."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path

import pytest
from tests.training.mkd.conftest import CohortFiles, write_table
from typer.main import get_command

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.training import cli
from napari_hmkd.training.mkd.config import MkdRunSettings

TINY = (
    "--folds 3 --epochs 1 --batch-size 8 --top-genes 12 --token-genes 4 --device cpu "
    "--exclude-genes ERBB2,gene3"
).split()


def arguments(files: CohortFiles, out: Path, *more: str) -> list[str]:
    places = ["--bags", str(files.bags), "--genes", str(files.genes), "--labels", str(files.labels)]
    return ["mkd", *places, "--out", str(out), *TINY, *more]


def test_each_setting_is_an_option_with_the_same_default() -> None:
    parameters = {p.opts[0]: p.default for p in get_command(cli.app).commands["mkd"].params}
    for group in fields(MkdRunSettings):
        settings = getattr(MkdRunSettings(), group.name)
        for item in fields(settings):
            flag = "--" + (item.metadata["name"] or item.name).replace("_", "-")
            assert parameters.pop(flag) == getattr(settings, item.name), flag
    assert parameters.keys() == {
        *("--bags", "--labels", "--genes", "--target", "--classes", "--definition"),
        *("--out", "--baselines", "--resume"),
    }  # fmt: skip


@pytest.mark.slow
def test_a_run_and_its_predictions(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, predicted = tmp_path / "Lauf", tmp_path / "neu.csv"
    command = arguments(cohort_files, out, "--target", "HER2")
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert "MKD, P (pathology alone)" in printed.out
    assert str(out / "biomarkers.safetensors") in printed.out
    assert "40 cases, 20 of class 0, 20 of class 1; 2 left out, see exclusions.csv" in printed.err
    with (out / "exclusions.csv").open(newline="", encoding="utf-8") as file:
        left = {row["name"] for row in csv.DictReader(file)}
    assert left == {"stray", "without-genes", "without-label"}
    kept = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert kept["genes"]["exclude_genes"] == "ERBB2,gene3"
    predict = ["mkd-predict", "--run", str(out), "--bags", str(cohort_files.bags)]
    with pytest.raises(SystemExit) as ended:
        cli.main([*predict, "--cases", str(cohort_files.labels), "--out", str(predicted)])
    assert ended.value.code == 0
    assert predicted.read_text(encoding="utf-8").startswith("bag,target,class,probability,network")
    with predicted.open(newline="", encoding="utf-8") as file:
        cases = {row["bag"]: row["case"] for row in csv.DictReader(file)}
    assert cases.pop("stray") == ""
    assert all(bag == case for bag, case in cases.items())
    assert "1 bags of no case, each judged by itself: stray" in capsys.readouterr().err


def test_one_class_in_a_fold_is_named(
    cohort_files: CohortFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = [[name, int(name == "case00")] for name in cohort_files.status]
    labels = write_table(tmp_path / "selten.csv", ["case", "ER"], rare)
    command = arguments(cohort_files, tmp_path / "Lauf", "--target", "ER")
    command[command.index("--labels") + 1] = str(labels)
    assert_refused(command, capsys, "training needs every class")
    assert not (tmp_path / "Lauf").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--target", "PR"], "has no column PR"),
        (["--target", "HER2", "--folds", "2"], "--folds must be at least 3, got 2"),
        (["--target", "HER2", "--top-genes", "0"], "--top-genes must be at least 1, got 0"),
        (["--target", "HER2", "--coral", "-1"], "--coral must be 0 to"),
        (["--target", "HER2", "--batch-size", "1"], "--batch-size must be at least 2"),
        (["--target", "HER2", "--classes", "HER2"], "--classes takes TARGET=..."),
        (["--target", "HER2", "--classes", "HER2=,"], "got no class in ','"),
        (
            ["--target", "HER2", "--classes", "HER2=0,1", "--classes", "HER2=1,0"],
            "--classes is given twice for HER2",
        ),
        (
            ["--target", "HER2", "--definition", "HER2=a", "--definition", "HER2=a"],
            "--definition is given twice for HER2",
        ),
        (["--target", "HER2", "--definition", "ER=oestrogen"], "--definition names ER"),
        (["--target", "HER2", "--ranking", "missing.txt"], "missing.txt cannot be read"),
        (["--target", "HER2", "--genes", "missing.csv"], "missing.csv cannot be read"),
    ],
)
def test_wrong_arguments_end_in_a_plain_message_and_no_folder(
    cohort_files: CohortFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    out = tmp_path / "Lauf"
    assert_refused(arguments(cohort_files, out, *more), capsys, message)
    assert not out.exists()


@pytest.mark.parametrize("missing", ["--bags", "--labels", "--target", "--out"])
def test_what_a_run_cannot_do_without_is_asked_for(
    cohort_files: CohortFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    command = arguments(cohort_files, tmp_path / "Lauf", "--target", "HER2")
    place = command.index(missing)
    del command[place : place + 2]
    assert_refused(command, capsys, missing)


def assert_refused(command: list[str], capsys: pytest.CaptureFixture[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
