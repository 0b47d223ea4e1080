"""Noting a reader's score."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from napari_hmkd.errors import DataError, OutputError
from napari_hmkd.study.recording import add_score, noted_score
from napari_hmkd.study.scores import Score, read_scores

X, Y = "1a" * 32, "2b" * 32
FIRST, SECOND = Score("a.svs", "", "Dr. Ä, 1", 2, X), Score("b.svs", "tumour", "Dr. Ä, 1", 0)


def test_scores_come_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "scores.csv"
    for score in (FIRST, SECOND):
        assert noted_score(path, score) is None
        add_score(path, score)
        assert noted_score(path, score) == score
    assert read_scores(path).scores == (FIRST, SECOND)
    assert [one.name for one in path.parent.iterdir()] == ["scores.csv"]


def test_a_score_is_not_changed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    add_score(path, FIRST)
    before = path.read_bytes()
    with pytest.raises(DataError, match="has a 2\\+ of that reader already"):
        add_score(path, replace(FIRST, grade=3))
    assert path.read_bytes() == before


def test_files_of_one_name_are_scored_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    other = replace(FIRST, grade=0, fingerprint=Y)
    add_score(path, FIRST)
    assert noted_score(path, other) is None
    add_score(path, other)
    assert [noted_score(path, one).grade for one in (FIRST, other)] == [2, 0]


def test_a_slide_that_was_renamed_has_been_scored(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    add_score(path, FIRST)
    assert noted_score(path, replace(FIRST, slide="renamed.svs", grade=3)) == FIRST


def test_readers_who_note_at_the_same_time_keep_each_other_s_scores(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    wanted = {Score("a.svs", "", f"reader {number}", 2, X) for number in range(12)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda score: add_score(path, score), wanted))
    assert set(read_scores(path).scores) == wanted


@pytest.mark.parametrize(
    "prepared",
    ["", "\n\n", "slide,region,reader,score\n", 'reader,score,slide,region\n"Dr. Ä, 1",,b.svs\n'],
    ids=["empty", "blank lines", "header", "other slides"],
)
def test_a_prepared_file_is_begun(tmp_path: Path, prepared: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(prepared, encoding="utf-8")
    assert noted_score(path, FIRST) is None
    add_score(path, FIRST)
    assert read_scores(path).scores == (FIRST,)


def test_the_line_that_was_prepared_for_a_score_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    lines = [
        "slide,region,reader,score,fingerprint,note",
        "a.svs,,Dr. B,,,first",
        f'a.svs,,"Dr. Ä, 1",,{Y},another file',
        'a.svs,,"Dr. Ä, 1",,,mine',
        'a.svs,tumour,"Dr. Ä, 1",,,a part',
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    add_score(path, FIRST)
    lines[3] = f'a.svs,,"Dr. Ä, 1",2+,{X},mine'
    assert path.read_text(encoding="utf-8").splitlines() == lines


@pytest.mark.parametrize("header", ["note,note", ","], ids=["one name twice", "no names"])
def test_notes_in_columns_of_one_name_stay_when_a_line_is_filled_in(
    tmp_path: Path, header: str
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(
        f"slide,region,reader,score,{header}\nb.svs,tumour,R,,mine,yours\n", encoding="utf-8"
    )
    add_score(path, replace(SECOND, reader="R"))
    assert path.read_text(encoding="utf-8").splitlines()[1] == "b.svs,tumour,R,0,mine,yours,"


def test_what_else_is_in_a_file_of_another_program_stays(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("Score;Slide;region;Reader;note\n1+;a.svs;;Dr. B;\"a; b\"\n;c.svs;;Dr. B\n", encoding="utf-8")  # fmt: skip
    add_score(path, FIRST)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "Score;Slide;region;Reader;note;fingerprint",
        '1+;a.svs;;Dr. B;"a; b"',
        ";c.svs;;Dr. B",
        f"2+;a.svs;;Dr. Ä, 1;;{X}",
    ]


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_excel_s_stays_one_that_excel_reads(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    path = tmp_path / "scores.csv"
    table = "slide;region;reader;score\nb.svs;;Dr. Ä;1+\n".replace(";", separator)
    path.write_text(table, encoding=encoding)
    add_score(path, FIRST)
    header = separator.join(["slide", "region", "reader", "score", "fingerprint"])
    assert path.read_bytes().startswith(f"{header}\n".encode(encoding))
    assert {score.reader for score in read_scores(path).scores} == {"Dr. Ä", FIRST.reader}


def test_a_file_without_fingerprints_knows_slides_by_name(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text('slide,region,reader,score\na.svs,,"Dr. Ä, 1",1+\n', encoding="utf-8")
    assert noted_score(path, FIRST).grade == 1


def test_a_score_that_makes_an_older_one_ambiguous_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("slide,region,reader,score\na.svs,,Dr. B,1+\n", encoding="utf-8")
    add_score(path, FIRST)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"'a.svs' may be that of line 3 or that of line 4"):
        add_score(path, Score("a.svs", "", "Dr. C", 1, Y))
    assert path.read_bytes() == before


@pytest.mark.parametrize("reader", ["dr. ä, 1"])
def test_a_name_in_another_spelling_is_refused(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "scores.csv"
    add_score(path, FIRST)
    before = path.read_bytes()
    with pytest.raises(DataError, match="write it the same way everywhere") as raised:
        add_score(path, Score("c.svs", "", reader, 3))
    assert f"but then: {path} line 3: the reader" in str(raised.value)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["scores.csv"]


@pytest.mark.parametrize(
    ("score", "what"),
    [
        (replace(SECOND, region="NA"), "region 'NA'"),
        (replace(SECOND, reader="Nan"), "reader 'Nan'"),
    ],
)
def test_a_name_that_tables_read_as_empty_is_refused(
    tmp_path: Path, score: Score, what: str
) -> None:
    path = tmp_path / "scores.csv"
    for asked in (noted_score, add_score):
        with pytest.raises(DataError, match=f"the {what}, but tables read that as an empty cell"):
            asked(path, score)
    assert not path.exists()


def test_a_file_with_many_commas_in_its_header_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    header = "slide\tregion\treader\tscore\tfingerprint\tnotes, free, text, more, and, more"
    path.write_text(f"{header}\n", encoding="utf-8")
    add_score(path, FIRST)
    assert path.read_text(encoding="utf-8").splitlines()[0] == header
    assert read_scores(path).scores == (FIRST,)


def test_what_is_no_table_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="no column slide"):
        add_score(path, FIRST)
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_file_that_cannot_be_written_is_an_error_in_words(impossible_folder: Path) -> None:
    with pytest.raises(OutputError, match=r"asked to note a score in .*choose another file"):
        add_score(impossible_folder / "scores.csv", FIRST)
