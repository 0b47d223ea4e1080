"""Scores as spreadsheets and people write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_hmkd.errors import DataError
from napari_hmkd.study.scores import Score, ScoreTable, read_scores

WriteScores = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "grade"),
    [("0", 0), ("1+", 1), ("2+", 2), ("3+", 3), ("1", 1), ("2", 2), ("3", 3), ("2.0", 2), (" 3+ ", 3)],
)  # fmt: skip
def test_a_score_is_a_grade_as_written_by_hand_or_as_a_number(
    write_scores: WriteScores, text: str, grade: int
) -> None:
    table = read_scores(write_scores(f"a.svs,core 1,anna,{text}\n"))
    assert table.scores == (Score("a.svs", "core 1", "anna", grade),)


@pytest.mark.parametrize(
    "content",
    [
        b"slide,region,reader,score\na,,\xc3\xa4nne,2+\n",
        b"\xef\xbb\xbfslide,region,reader,score\r\na,,\xc3\xa4nne,2+\r\n",
        b"slide;region;reader;score\na;;\xc3\xa4nne;2+\n",
        b"slide;region;reader;score\na;;\xc3\xa4nne;2,0\n",
        b"\xef\xbb\xbfslide\tregion\treader\tscore\r\na\t\t\xc3\xa4nne\t2+\r\n",
        b'slide;region;reader;score;"note, or why, or how, or who, or where"\na;;\xc3\xa4nne;2+;\n',
        b"slide\tregion\treader\tscore\tnotes, free, text, more, and, more\na\t\t\xc3\xa4nne\t2+\tx\n",
        b"slide,region,reader,score,fingerprint,patient\na,#N/A,\xc3\xa4nne,2,#N/A,#N/A\n",
        b"slide,region,reader,score,fingerprint,patient\na,NA,\xc3\xa4nne,2,NA,NA\n",
        b"score,note,Reader, slide ,region\n2+,\"well, done\",\xc3\xa4nne,a,\n",
        b'"slide", "region", "reader", "score"\n"a", "", "\xc3\xa4nne", " 2+ "\n',
        b"\nslide,region,reader,score\n\n,,,\na, ,\xc3\xa4nne,2+\n\n",
        b"slide,reader,score,region\na,\xc3\xa4nne,2+\n",  # empty cells at the end left out
        b"slide,region,reader,score\na,,a\xcc\x88nne,2+",  # the letter and its dots, as macOS has it
    ],
    ids=["plain", "Excel", "semicolons", "decimal comma", "tabs", "comma in the header", "many commas in the header", "a formula's", "R", "order", "quotes", "blank lines", "short", "composed"],
)  # fmt: skip
def test_every_spreadsheet_s_way_of_writing_means_the_same(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    assert read_scores(path).scores == (Score("a", "", "änne", 2),)


def test_rows_without_a_score_are_counted(write_scores: WriteScores) -> None:
    table = read_scores(write_scores("a,,anna,2+\nb,,anna,\nb,,ben, \nb,,eva,NA\n"))
    assert [score.reader for score in table.scores] == ["anna"]
    assert table.not_scored == 3


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ("a,,anna,2+\na,,ben,HER2 2+\n", 3, r"'HER2 2\+' is none of 0, 1\+"),
        ("a,,anna,4\n", 2, "'4' is none of"),
        ("a,,anna,2+\nb,,anna,0\na,,anna,3+\n", 4, r"a 3\+, but gave it a 2\+ in line 2"),
        ("a,x,anna,2+\na,x,anna,2+\n", 3, r"anna gives a, x a 2\+, but gave it a 2\+ in line 2"),
        ("a,NA,anna,2+\na,,anna,0\n", 3, "two lines; the region 'NA' of line 2 is read as empty, the whole"),
        ("a,,anna,2+\na,nan,anna,0\n", 3, "the region 'nan' of line 3 is read as empty, the whole slide"),
        (",,anna,2+\n", 2, "the cell slide is empty"),
        ("a,,,2+\n", 2, "the cell reader is empty"),
        ("a,,anna,2+\nNA,,anna,2+\n", 3, "the slide 'NA' is read as an empty cell"),
        ("a,,anna,2+\na,,nan,2+\n", 3, "the reader 'nan' is read as an empty cell"),
        ("a,,anna,2+\na,,Anna,3+\n", 3, "reader 'Anna' is written 'anna' in line 2"),
        ("a,x,anna,2+\na,X,ben,3+\n", 3, "region 'X' is written 'x' in line 2"),
        ("a,,Dr.\xa0A,2+\na,,Dr. A,3+\n", 3, r"'Dr. A' is written 'Dr.\\xa0A' in line 2"),
        ("a,x y,anna,2+\na,x  y,ben,3+\n", 3, "'x  y' is written 'x y' in line 2"),
        ("a,,anna,2+\na.svs,,ben,3+\n", 3, "'a.svs' may be 'a' of line 2"),
        ("a,left, upper,anna,2+\n", 2, "5 cells, but the header has 4"),
        ('a,,anna,2+\nb,,"anna,2+\n', 3, "does not end with one"),
        ('"a\nb",,anna,2+\nc,,anna,5\n', 4, "'5' is none of"),
    ],
    ids=["unknown", "too high", "contradiction", "repetition", "NA first", "NA last", "no slide", "no reader", "NA as slide",
         "NA as reader", "reader's case", "region's case", "fixed space", "two spaces", "suffix", "comma", "open quote", "after a line break"],
)  # fmt: skip
def test_what_cannot_be_meant_is_an_error_with_its_line(
    write_scores: WriteScores, lines: str, line: int, message: str
) -> None:
    path = write_scores(lines)
    with pytest.raises(DataError, match=message) as caught:
        read_scores(path)
    assert str(caught.value).startswith(f"{path} line {line}: ")


X, Y = "1a" * 32, "2b" * 32
WITH_FINGERPRINT = "slide,region,reader,score,fingerprint"


def slides(path: Path) -> list[tuple[str, str]]:
    return [(score.slide, score.fingerprint) for score in read_scores(path).scores]


def test_files_of_one_name_are_two_slides_by_their_fingerprints(write_scores: WriteScores) -> None:
    path = write_scores(f"a,,anna,2+,{X}\na,,anna,0,{Y}\nb,,anna,1+,\n", WITH_FINGERPRINT)
    assert slides(path) == [("a (1a1a1a1a)", X), ("a (2b2b2b2b)", Y), ("b", "")]


def test_one_fingerprint_is_one_slide_by_its_first_name(write_scores: WriteScores) -> None:
    path = write_scores(f"a,,anna,2+,{X}\ncopy,,ben,2+,{X}\n", WITH_FINGERPRINT)
    assert slides(path) == [("a", X), ("a", X)]


def test_rows_without_a_fingerprint_go_with_the_others_of_their_name(
    write_scores: WriteScores,
) -> None:
    path = write_scores(f"a,,anna,2+\na,,ben,2+,{X}\nb,,ben,2+\n", WITH_FINGERPRINT)
    assert slides(path) == [("a", X), ("a", X), ("b", "")]


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (f"a,,anna,2+,{X}\na,,anna,3+,{Y}\na,,ben,2+\n", 4, "'a' may be that of line 2 or that of line 3"),
        (f"a,,anna,2+,{X}\ncopy,,anna,3+,{X}\n", 3, r"anna gives a a 3\+, but gave it a 2\+ in line 2"),
        ("a,,anna,2+,1.1E+63\n", 2, "the fingerprint '1.1E\\+63' is not one of 64"),
    ],
    ids=["either of two", "twice under two names", "as a spreadsheet spoils it"],
)  # fmt: skip
def test_what_fingerprints_leave_open_is_an_error_with_its_line(
    write_scores: WriteScores, lines: str, line: int, message: str
) -> None:
    path = write_scores(lines, WITH_FINGERPRINT)
    with pytest.raises(DataError, match=message) as caught:
        read_scores(path)
    assert str(caught.value).startswith(f"{path} line {line}: ")


WITH_PATIENT = "patient,slide,region,reader,score"


def test_slides_of_patients_that_nobody_knows_are_not_of_one(write_scores: WriteScores) -> None:
    path = write_scores("NA,a,,ben,2+\nna,b,,ben,0\nP 1,c,,ben,0\n", WITH_PATIENT)
    assert [score.patient for score in read_scores(path).scores] == ["", "", "P 1"]
    assert read_scores(path).slides_without_patient == ("a", "b")


def test_one_score_of_a_slide_names_its_patient_for_all(write_scores: WriteScores) -> None:
    path = write_scores(",a,,anna,2+\nP 1,a,,ben,2+\nP 1,b,,ben,0\n,c,,ben,0\n", WITH_PATIENT)
    found = [(score.slide, score.patient) for score in read_scores(path).scores]
    assert found == [("a", "P 1"), ("a", "P 1"), ("b", "P 1"), ("c", "")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("P 1,a,,anna,2+\nP 2,a,,ben,2+\n", "the slide 'a' is of the patient 'P 2', but of 'P 1' in line 2"),
        ("P 1,a,,anna,2+\np 1,b,,anna,2+\n", "the patient 'p 1' is written 'P 1' in line 2"),
    ],
    ids=["two patients", "two spellings"],
)  # fmt: skip
def test_patients_that_cannot_be_told_are_an_error(
    write_scores: WriteScores, lines: str, message: str
) -> None:
    with pytest.raises(DataError, match=f"line 3: {message}"):
        read_scores(write_scores(lines, WITH_PATIENT))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("slide,region,reader", "no column score"),
        ("slide|region|reader|score", "no column slide and no column region"),
        ("slide,region,reader,score,score", "the column score is there twice"),
        (
            "slide,region,reader,score,fingerprint,Fingerprint",
            "the column fingerprint is there twice",
        ),
    ],
)
def test_a_wrong_header_is_an_error(write_scores: WriteScores, header: str, message: str) -> None:
    with pytest.raises(DataError, match=f"line 1: .*{message}"):
        read_scores(write_scores("a,,anna,2+\n", header))


@pytest.mark.parametrize(("lines", "not_scored"), [("", 0), ("a,,anna,\n", 1)])
def test_a_table_may_wait_for_its_scores(
    write_scores: WriteScores, lines: str, not_scored: int
) -> None:
    assert read_scores(write_scores(lines)) == ScoreTable((), not_scored)


def test_an_empty_file_lacks_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()
    with pytest.raises(DataError, match="line 1: no column slide"):
        read_scores(path)


def test_another_encoding_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes("slide,region,reader,score\na,,änne,2+\n".encode("cp1252"))
    with pytest.raises(DataError, match="line 2: not UTF-8 text: save it as 'CSV UTF-8'"):
        read_scores(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read"):
        read_scores(tmp_path / "nowhere.csv")


def test_a_file_that_cannot_be_is_an_error(impossible_folder: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read .*name a CSV file"):
        read_scores(impossible_folder)
