"""`napari-hmkd-grade study`: files, console and exit codes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.study.conftest import sha256
from typer.testing import CliRunner, Result

from napari_hmkd.cli.study import app

WriteScores = Callable[..., Path]
WriteResult = Callable[..., Path]
NO_SCORE = "by area of tiles, not by cells: not an ASCO/CAP score"
NOTICE = "painted squares, research use only"
SCORES = """\
a,,anna,2+
b,,anna,0
c,,anna,3+
d,,anna,1+
e,,anna,
a,,ben,2+
b,,ben,1+
c,,ben,3+
d,,ben,1+
"""


def run(*arguments: object) -> Result:
    found = CliRunner().invoke(app, [*map(str, arguments)])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


@pytest.fixture
def graded(tmp_path: Path, write_result: WriteResult) -> Path:
    """Results of a, b and d; and of x, which nobody scored."""
    write_result("a.svs", [(1.0, 2, 2.25)], warnings=[NOTICE, "stopped early"])
    write_result("b.svs", [(1.0, 0, 0.5)])
    write_result("d.svs", [(1.0, 2, 1.5)])
    write_result("x.svs")
    return tmp_path / "out"


def read(folder: Path) -> tuple[dict, list[dict[str, str]]]:  # type: ignore[type-arg]
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    return json.loads((folder / "agreement.json").read_text(encoding="utf-8")), pairs


def test_readers_and_model_are_compared(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    done = run(write_scores(SCORES), graded, "--out", tmp_path / "study")
    assert done.exit_code == 0
    report, pairs = read(tmp_path / "study")
    model = "model, grade of most area"
    assert [(row["first"], row["second"], row["cases"], row["kappa"]) for row in pairs] == [
        ("anna", "ben", "4", "0.8750"),  # by hand: 1 - 1 / (32 / 4)
        ("anna", model, "3", "0.8000"),  # 1 - 1 / (15 / 3)
        ("ben", model, "3", "0.4000"),  # 1 - 2 / (10 / 3)
        ("consensus of readers", model, "2", "0.0000"),  # 1 - 1 / (2 / 2)
    ]
    assert report["pairs"][0]["grades"]["table"][0] == [0, 1, 0, 0]
    bias = report["readers_with_model"][0]["expected_grade"]["bias"]
    assert bias["value"] == pytest.approx((0.25 + 0.5 + 0.5) / 3)
    assert report["mean_pairwise_kappa"]["value"] == pytest.approx(7 / 8)
    assert report["model"]["values"][0] == {
        "slide": "a", "region": "", "expected_grade": 2.25, "grade_of_most_area": "2+",
    }  # fmt: skip


def test_what_was_left_out_is_said(tmp_path: Path, write_scores: WriteScores, graded: Path) -> None:
    done = run(write_scores(SCORES), graded, "--out", tmp_path / "study")
    report, _ = read(tmp_path / "study")
    assert report["scores"]["rows_without_score"] == 1
    assert report["slides_without_results"] == ["c"]
    assert report["results_without_scores"] == ["x.svs"]
    assert report["cases_without_consensus"] == [{"slide": "b", "region": ""}]
    assert done.stderr.splitlines() == [f"warning: {warning}" for warning in report["warnings"]]
    assert report["warnings"] == [
        "rows without a score, left out: 1",
        "slides without results: c",
        "results of slides that nobody scored: x.svs",
        "a.svs: stopped early",
    ]


def test_a_long_list_is_cut_on_the_console_and_whole_in_the_file(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    more = "".join(f"s{number},,anna,2+\n" for number in range(20))
    done = run(write_scores(SCORES + more), graded, "--out", tmp_path / "study")
    report, _ = read(tmp_path / "study")
    assert len(report["slides_without_results"]) == 21
    assert (
        "slides without results: c; s0; s1; s10; s11; and 16 more, see agreement.json"
        in done.stderr
    )


def test_every_output_says_what_it_is_not(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    done = run(write_scores(SCORES), graded, "--out", tmp_path / "study")
    report, pairs = read(tmp_path / "study")
    said = [done.stdout, json.dumps(report), *(" ".join(row.values()) for row in pairs)]
    for text in said:
        assert NO_SCORE in text
        assert "research use only" in text.replace(NOTICE, "")
        assert NOTICE in text


def test_files_of_one_name_are_compared_once_fingerprints_tell_them_apart(
    tmp_path: Path, write_scores: WriteScores, write_result: WriteResult
) -> None:
    prints = {clinic: sha256(clinic) for clinic in ("A", "B")}
    folders = [
        write_result(
            "a.svs", [(1.0, grade, float(grade))], below=clinic, fingerprint=prints[clinic]
        )
        for grade, clinic in enumerate("AB")
    ]
    command = (tmp_path / "A", tmp_path / "B", "--out", tmp_path / "study")
    refused = run(write_scores("a.svs,,anna,1+\n"), *command)
    assert refused.exit_code == 2
    assert all(str(folder) in refused.stderr for folder in folders)
    lines = f"a.svs,,anna,0,{prints['A']}\na.svs,,anna,1+,{prints['B']}\n"
    done = run(write_scores(lines, "slide,region,reader,score,fingerprint"), *command)
    assert done.exit_code == 0
    report, _ = read(tmp_path / "study")
    assert [value["slide"] for value in report["model"]["values"]] == sorted(
        f"a.svs ({one[:8]})" for one in prints.values()
    )
    assert report["readers_with_model"][0]["expected_grade"]["bias"]["value"] == 0


def test_a_result_of_another_file_of_that_name_is_left_out_and_told(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    lines = f"a.svs,,anna,2+,{sha256('another')}\nb.svs,,anna,1+,\n"
    done = run(
        write_scores(lines, "slide,region,reader,score,fingerprint"),
        *(graded, "--out", tmp_path / "study"),
    )
    assert done.exit_code == 0
    report, _ = read(tmp_path / "study")
    assert [value["slide"] for value in report["model"]["values"]] == ["b.svs"]
    assert report["results_of_other_files"] == ["a.svs"]
    assert "warning: results of another file of that name: a.svs" in done.stderr


def test_readers_are_compared_without_a_model(tmp_path: Path, write_scores: WriteScores) -> None:
    done = run(write_scores(SCORES), "--out", tmp_path / "study")
    assert done.exit_code == 0
    report, pairs = read(tmp_path / "study")
    assert (report["model"], report["consensus_with_model"]) == (None, None)
    assert len(pairs) == 1
    assert "limit" not in done.stdout


def test_one_reader_is_compared_with_the_model(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    done = run(write_scores("a,,anna,2+\nb,,anna,0\n"), graded, "--out", tmp_path / "study")
    assert done.exit_code == 0
    assert "mean of these pairs" not in done.stdout


def test_the_console_shows_intervals_or_why_there_are_none(
    tmp_path: Path, write_scores: WriteScores
) -> None:
    rows = "".join(
        f"s{n},,{reader},{grade}\n"
        for n in range(24)
        for reader, grade in (
            ("anna", n % 4),
            ("ben", min(3, n % 4 + (n % 5 == 0))),
            ("cleo", n % 4),
        )
    )
    done = run(write_scores(rows), "--out", tmp_path / "study")
    first, second, *_ = done.stdout.splitlines()
    assert first.split() == ["first", "second", "cases", "slides", "same", "quadratic", "weighted", "kappa"]  # fmt: skip
    report, _ = read(tmp_path / "study")
    kappa = report["pairs"][0]["grades"]["kappa"]
    low, high = kappa["interval_95"]
    assert second.endswith(f"{kappa['value']:.2f} [{low:.2f}, {high:.2f}]")
    assert "anna, cleo: no interval: the draws show no spread" in done.stdout


def test_the_console_says_why_a_spread_of_differences_is_missing(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    done = run(
        write_scores("a,,anna,2+\nb,,ben,0\na,,ben,0\n"), graded, "--out", tmp_path / "study"
    )
    assert "anna, SD and limits: undefined: fewer than two cases have both" in done.stdout
    assert "ben, SD" not in done.stdout


@pytest.mark.parametrize(
    ("patients", "said"),
    [
        ("PPQQ", "bootstrap over patients, 2000 draws; with few patients"),
        ("PPQ ", "bootstrap over patients, 2000 draws; with few patients"),
        (
            "    ",
            "over slides, 2000 draws; no patient is named, so that slides of one patient count as",
        ),
    ],
)
def test_it_is_said_what_the_intervals_are_over(
    tmp_path: Path, write_scores: WriteScores, patients: str, said: str
) -> None:
    rows = "".join(
        f"s{n},,{reader},{(n + k) % 4},{patient}\n"
        for n, patient in enumerate(patients)
        for k, reader in enumerate(("anna", "ben"))
    )
    scores = write_scores(rows, "slide,region,reader,score,patient")
    done = run(scores, "--out", tmp_path / "study")
    report, pairs = read(tmp_path / "study")
    assert said in done.stdout
    assert said in report["intervals"]
    assert report["scores"]["patients"] == len(set(patients) - {" "})
    assert pairs[0]["intervals_over"] in said
    alone = "slides without a patient, drawn one by one: s3"
    assert report["warnings"] == ([alone] if patients == "PPQ " else [])
    assert report["slides_without_patient"] == (["s3"] if patients == "PPQ " else [])


def test_the_same_study_has_the_same_bytes(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    scores = write_scores(SCORES)
    for name in ("one", "two"):
        run(scores, graded, "--out", tmp_path / name)
    for name in ("agreement.json", "pairs.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a,,anna,5\n", "line 2: the score '5'"),
        ("", "holds no scores"),
        ("a,,anna,\n", "1 rows without one"),
        ("a,,anna,1+\nb,,anna,2+\n", "found one reader, anna"),
    ],
)
def test_bad_scores_end_with_2_and_nothing_is_written(
    tmp_path: Path, write_scores: WriteScores, lines: str, message: str
) -> None:
    done = run(write_scores(lines), "--out", tmp_path / "study")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("arguments", [["nowhere.csv"], ["{scores}", "nowhere"]])
def test_missing_files_end_with_2(
    tmp_path: Path, write_scores: WriteScores, arguments: list[str]
) -> None:
    words = [word.format(scores=write_scores(SCORES)) for word in arguments]
    done = run(*words, "--out", tmp_path / "study")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr


def test_wrong_use_ends_with_2(write_scores: WriteScores) -> None:
    done = run(write_scores(SCORES))
    assert done.exit_code == 2
    assert "--out" in done.stderr


def test_a_result_folder_is_never_overwritten(
    tmp_path: Path, write_scores: WriteScores, graded: Path
) -> None:
    for folder in (graded, graded / "a.svs"):
        before = sorted(folder.rglob("*"))
        done = run(write_scores(SCORES), graded, "--out", folder)
        assert done.exit_code == 2
        assert "left alone" in done.stderr
        assert sorted(folder.rglob("*")) == before


def test_an_older_study_is_replaced_and_a_user_s_own_files_are_kept(
    tmp_path: Path, write_scores: WriteScores
) -> None:
    study = tmp_path / "study"
    run(write_scores(SCORES), "--out", study)
    (study / "notes of mine.txt").touch()
    done = run(write_scores(SCORES.replace("b,,ben,1+", "b,,ben,0")), "--out", study)
    assert done.exit_code == 0
    report, _ = read(study)
    assert report["pairs"][0]["grades"]["agreement_percent"] == 100
    assert {path.name for path in study.iterdir()} == {
        "agreement.json", "pairs.csv", "notes of mine.txt",
    }  # fmt: skip
