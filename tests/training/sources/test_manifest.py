"""CSV manifests: as people and spreadsheets write them, and every line that is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hmkd.errors import DataError
from napari_hmkd.model import ModelCard, build_student, save
from napari_hmkd.training.config import (
    CohortSettings,
    DataSettings,
    Labels,
    ParallelComputeSettings,
    StoredDataSettings,
)
from napari_hmkd.training.sources.manifest import scan_manifest
from napari_hmkd.training.sources.opening import open_source, resolve_labels
from napari_hmkd.training.tiles import Tile

HEADER = "he,ihc,grade,patient,split"
FIRST = "he/0.png,ihc/0.png,2+,Ä 1,train"


def tiles_of(path: Path) -> list[Tile]:
    scan = scan_manifest(path)
    assert scan.problems == ()
    return [pair.tile for pair in scan.pairs]


def test_a_line_is_a_pair(manifest, study: Path) -> None:
    path = manifest([HEADER, FIRST, "he/1.png,ihc/1.png,0,,"])
    source = open_source(str(path), CohortSettings(), DataSettings(mpp=0.5))
    assert list(source.tiles) == [
        Tile("he/0.png", 2, "Ä 1", "train"),
        Tile("he/1.png", 0, None, None),
    ]
    assert (source.mpp, source.tile_px) == (0.5, 256)
    with Image.open(study / "ihc/1.png") as image:
        np.testing.assert_array_equal(source.read(1)[1], np.asarray(image))


@pytest.mark.parametrize(
    ("lines", "how"),
    [
        pytest.param([HEADER, FIRST], {"encoding": "utf-8-sig"}, id="byte order mark"),
        pytest.param([HEADER, FIRST], {"ending": "\r\n"}, id="CRLF"),
        pytest.param([HEADER, FIRST], {"ending": "\r"}, id="CR"),
        pytest.param(
            [HEADER.replace(",", ";"), FIRST.replace(",", ";")],
            {"encoding": "utf-8-sig", "ending": "\r\n"},
            id="Excel with semicolons",
        ),
        pytest.param([HEADER.replace(",", "\t"), FIRST.replace(",", "\t")], {}, id="tabs"),
        pytest.param([" HE, Ihc ,Grade,PATIENT,split", FIRST], {}, id="capitals and spaces"),
        pytest.param([HEADER, "", ",,,,", FIRST, ""], {}, id="blank lines"),
        pytest.param([HEADER + ",,", FIRST + ",,"], {}, id="empty columns"),
        pytest.param(
            ["split,site,patient,grade,ihc,he", "train,x,Ä 1,2,ihc/0.png,he/0.png"],
            {},
            id="another order, a column more",
        ),
    ],
)
def test_what_spreadsheets_write_is_read(manifest, lines: list[str], how: dict) -> None:
    assert tiles_of(manifest(lines, **how)) == [Tile("he/0.png", 2, "Ä 1", "train")]


@pytest.mark.parametrize(
    ("text", "grade"),
    [("0", 0), ("1+", 1), ("2+", 2), ("3+", 3), ("1", 1), ("3", 3), ("2.0", 2), ("", None)],
)
def test_grades_are_read_as_they_are_written(manifest, text: str, grade: int | None) -> None:
    assert tiles_of(manifest(["he,ihc,grade", f"he/0.png,ihc/0.png,{text}"]))[0].grade == grade


def test_what_says_that_no_patient_is_known_is_no_patient(manifest) -> None:
    cells = ["NA", "nan", "Unknown", "", "NA"]
    lines = [f"he/{number}.png,ihc/{number}.png,1,{cell}," for number, cell in enumerate(cells[:4])]
    path = manifest([HEADER, *lines, "he/0.png,ihc/1.png,1,NA,test"])
    assert [tile.patient for tile in tiles_of(path)] == [None] * 5
    assert scan_manifest(path).notes[0] == (
        "'NA', in 2 lines, is taken for no patient's name: each such tile counts as a patient of its own"
    )
    assert len(scan_manifest(path).notes) == 3


@pytest.mark.parametrize(("first", "second"), [("P Ä", "p ä"), ("7", "7.0")])
def test_a_patient_written_in_two_ways_is_a_problem_and_not_two_patients(
    manifest, first: str, second: str
) -> None:
    cells = [(first, "train"), ("NA", "train"), (second, "test"), ("na", "test")]
    lines = [f"he/{n}.png,ihc/{n}.png,1,{who},{part}" for n, (who, part) in enumerate(cells)]
    path = manifest([HEADER, *lines])
    assert scan_manifest(path).problems == (
        f"{path}: one patient is written {first!r} and {second!r}: write the name the same way everywhere",
    )


def test_two_columns_are_enough(manifest) -> None:
    assert tiles_of(manifest(["he,ihc", "he/0.png,ihc/0.png"])) == [Tile("he/0.png", None)]


def test_paths_that_windows_wrote_are_read(manifest, study: Path) -> None:
    scan = scan_manifest(manifest([HEADER, FIRST.replace("/", "\\")]))
    assert scan.problems == ()
    assert scan.pairs[0].files() == (study / "he/0.png", study / "ihc/0.png")


@pytest.mark.skipif(os.sep != "/", reason="a backslash is no letter of a name there")
def test_a_backslash_may_be_part_of_a_name(manifest, study: Path) -> None:
    (study / "he/0.png").rename(study / "he\\0.png")
    scan = scan_manifest(manifest([HEADER, "he\\0.png,ihc/0.png,2+,,"]))
    assert scan.problems == ()
    assert scan.pairs[0].he == study / "he\\0.png"


def test_absolute_paths_and_quoted_cells_work(manifest, study: Path) -> None:
    path = manifest([HEADER, f'"{study / "he/0.png"}","ihc/0.png",1,"Doe, J",test'])
    (tile,) = tiles_of(path)
    assert (tile.patient, tile.part) == ("Doe, J", "test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("he/1.png,ihc/1.png,4+,,", r"the grade '4\+' is none of 0, 1\+, 2\+, 3\+, 0 to 3"),
        ("he/1.png,ihc/1.png,1,,dev", "the split 'dev' is none of train, validation"),
        ("he/1.png,,1,,", "the cell ihc is empty"),
        ("he/1.png", "the cell ihc is empty"),
        ("he/9.png,ihc/1.png,1,,", r"there is no file .*he/9\.png"),
        ("he,ihc/1.png,1,,", r"there is no file .*he: "),
        (f"{'x' * 5000},ihc/1.png,1,,", "there is no file"),
        ("he/1.png,ihc/1.png,1,A, B,train", "6 cells, but the first line has 5"),
        ("he/0.png,ihc/1.png,1,,train", r"he/0\.png is listed in line 2 already"),
        ("he/1.png,he/1.png,1,,", r"he/1\.png is listed as both H&E and IHC"),
    ],
)
def test_a_bad_line_is_named_with_its_number(manifest, line: str, message: str) -> None:
    path = manifest([HEADER, FIRST, "", line])
    with pytest.raises(DataError, match=message) as caught:
        open_source(str(path), CohortSettings(), DataSettings(mpp=0.5))
    assert str(caught.value).startswith(f"{path} line 4: ")


@pytest.mark.parametrize(
    ("column", "cells", "wanted"),
    [
        ("split", ("Train", "TEST", "Train", "TEST"), "train, validation, calibration, test"),
        ("grade", ("neg", "pos", "neg", "?"), "0, 1+, 2+, 3+, 0 to 3"),
    ],
)
def test_a_column_of_unknown_cells_is_one_problem_with_its_count_and_examples(
    manifest, column: str, cells: tuple[str, ...], wanted: str
) -> None:
    lines = [f"he/{number}.png,ihc/{number}.png,{cell}" for number, cell in enumerate(cells)]
    path = manifest([f"he,ihc,{column}", *lines])
    first, second, third, _ = cells
    assert scan_manifest(path).problems == (
        f"{path}: the {column} of 4 lines is none of {wanted}, or empty: {first!r} in line 2, "
        f"{second!r} in line 3, {third!r} in line 4, ...",
    )
    with pytest.raises(DataError) as caught:
        open_source(str(path), CohortSettings(), DataSettings(mpp=0.5))
    assert "problem" not in str(caught.value)


def test_a_manifest_without_any_of_its_files_is_one_problem_for_each_column(manifest) -> None:
    lines = [f"C:\\BCI\\he\\{n}.png,C:\\BCI\\ihc\\{n}.png,1,,train" for n in range(4)]
    path = manifest([HEADER, *lines])
    scan = scan_manifest(path)
    assert scan.pairs == ()
    assert scan.problems == tuple(
        f"{path}: of 4 files in the column {name} none is there, e.g. {path.parent}/C:/BCI/{name}/0.png "
        "in line 2: paths are relative to the manifest's folder"
        for name in ("he", "ihc")
    )


def test_files_that_are_not_there_are_all_named_where_others_are(manifest) -> None:
    lines = [f"he/{n}.png,ihc/{n}.png,1,,train" for n in (0, 6, 7, 8, 9)]
    path = manifest([HEADER, *lines])
    assert scan_manifest(path).problems == tuple(
        f"{path} line {n - 3}: there is no file {path.parent}/{stain}/{n}.png: paths are relative to "
        "the manifest's folder"
        for stain in ("he", "ihc")
        for n in (6, 7, 8, 9)
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_jpeg_listed_beside_its_png_is_a_problem(manifest, study: Path, split: str) -> None:
    with Image.open(study / "he/0.png") as image:
        image.save(study / "he/0.JPG")
    scan = scan_manifest(manifest([HEADER, FIRST, f"he/0.JPG,ihc/1.png,2+,,{split}"]))
    (problem,) = scan.problems
    names = f"{study / 'he/0.png'} and {study / 'he/0.JPG'}"
    assert (
        problem == f"{scan.origin} line 3: {names} have one name, as copies have: keep one of them"
    )


def test_stains_may_share_a_folder_where_their_suffix_tells_them_apart(
    manifest, study: Path
) -> None:
    with Image.open(study / "ihc/0.png") as image:
        image.save(study / "he/0.jpg")
    assert scan_manifest(manifest([HEADER, "he/0.png,he/0.jpg,2+,,train"])).problems == ()


def test_all_bad_lines_are_found(manifest) -> None:
    path = manifest([HEADER, "he/9.png,ihc/9.png,5,,x", FIRST, "he/1.png,,1,,", "a,b,c,d,e,f"])
    scan = scan_manifest(path)
    lines = sorted(problem.removeprefix(f"{path} line ")[0] for problem in scan.problems)
    assert lines == ["2", "2", "2", "2", "4", "5"]
    assert [pair.tile.name for pair in scan.pairs] == ["he/0.png"]


@pytest.mark.parametrize(
    "open_cell",
    ['"he/9.png,ihc/9.png,1,,', 'he/9.png,"ihc/9.png,1,,', '"he"/9.png,ihc/9.png,1,,'],
)
def test_a_quote_that_is_not_closed_hides_no_other_line(manifest, open_cell: str) -> None:
    quoted = '"he/1.png",ihc/1.png,1,"Doe\nJ",train'
    path = manifest([HEADER, FIRST, open_cell, "he/8.png,ihc/2.png,1,,", quoted, "he/3.png,,0,,"])
    scan = scan_manifest(path)
    assert [pair.tile.patient for pair in scan.pairs] == ["Ä 1", "Doe\nJ"]
    found = "\n".join(scan.problems)
    assert f"{path} line 3: a cell that begins with a double quote does not end with one" in found
    assert f"{path} line 4: there is no file {path.parent / 'he/8.png'}" in found
    assert f"{path} line 7: the cell ihc is empty" in found
    assert len(scan.problems) == 3


def test_a_quote_that_is_open_to_the_end_is_told_where_it_begins(manifest) -> None:
    lines = [f"he/{number}.png,ihc/{number}.png,1,," for number in (0, 1, 2)]
    scan = scan_manifest(manifest([HEADER, lines[0], '"he/9.png,ihc/9.png,1,,', *lines[1:]]))
    assert [pair.tile.name for pair in scan.pairs] == ["he/0.png", "he/1.png", "he/2.png"]
    (problem,) = scan.problems
    assert "line 3: " in problem


def test_a_pair_s_files_are_named_with_their_line(manifest, study: Path) -> None:
    path = manifest([HEADER, "", FIRST])
    (pair,) = scan_manifest(path).pairs
    assert pair.names() == tuple(
        f"{study / stain / '0.png'} ({path} line 3)" for stain in ("he", "ihc")
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["he,grade", "he/0.png,1"], "line 1: no column ihc"),
        (["0.png,1.png"], "line 1: no column he and no column ihc"),
        (["he,ihc,he", "a,b,c"], "line 1: the column he is there twice"),
        ([""], "line 1: no column he"),
        ([HEADER], "lists no pairs"),
        (['"he,ihc', FIRST], "line 1: a cell that begins with a double quote does not end"),
    ],
)
def test_what_is_no_manifest_is_refused(manifest, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan_manifest(manifest(lines))


def test_another_encoding_is_refused_with_the_line(manifest) -> None:
    path = manifest([HEADER, FIRST.replace("Ä", "A"), FIRST], encoding="cp1252")
    with pytest.raises(DataError, match="line 3: not UTF-8 text: save it as 'CSV UTF-8'"):
        scan_manifest(path)


def test_a_file_that_is_no_text_is_refused(manifest) -> None:
    with pytest.raises(DataError, match="is no CSV text"):
        scan_manifest(manifest([HEADER, FIRST], encoding="utf-16"))


def test_a_bad_picture_is_named_with_its_line(manifest, study: Path) -> None:
    path = manifest([HEADER, FIRST, "he/1.png,ihc/1.png,0,,"])
    settings = CohortSettings(), DataSettings(mpp=0.5)
    source = open_source(str(path), *settings)
    bad = study / "ihc/1.png"
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(DataError) as decoded:
        source.read(1)
    bad.write_bytes(b"no image")
    with pytest.raises(DataError) as opened:
        open_source(str(path), *settings)
    Image.new("RGB", (512, 512)).save(bad)
    with pytest.raises(DataError) as measured:
        open_source(str(path), *settings)
    for caught in (decoded, opened, measured):
        assert str(caught.value).startswith(f"{path} line 3: {bad} ")


def test_the_pixel_size_must_be_stated(manifest) -> None:
    with pytest.raises(DataError, match="--mpp"):
        open_source(str(manifest([HEADER, FIRST])), CohortSettings(), DataSettings())


def test_unused_columns_are_told(manifest) -> None:
    scan = scan_manifest(manifest(["he,ihc,grad", "he/0.png,ihc/0.png,1"]))
    assert scan.notes == ("columns that are not used: grad",)


@pytest.mark.parametrize(
    ("asked", "resolved"),
    [(None, None), (Labels.SLIDE, Labels.SLIDE), (Labels.TILE, Labels.TILE)],
)
def test_its_author_says_what_the_grades_are(manifest, asked, resolved) -> None:
    assert resolve_labels(str(manifest([HEADER, FIRST])), asked) is resolved


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "on_page", "on_card"),
    [
        (None, "Labels are the grades as the manifest gives them", "as the manifest gives them"),
        (Labels.SLIDE, "Labels are the grade of the whole slide", "slide"),
        (Labels.TILE, "own grade.", "tile"),
    ],
)
def test_the_page_of_scores_says_no_more_of_its_grades_than_was_told(
    manifest, tmp_path: Path, asked: Labels | None, on_page: str, on_card: str
) -> None:
    for extra in ("lightning", "sklearn", "matplotlib", "jinja2"):
        pytest.importorskip(extra, reason="needs the extra `train`")
    from napari_hmkd.training.scores.evaluation import evaluate

    student, out = tmp_path / "student.safetensors", tmp_path / "scores"
    card = ModelCard(name="fresh", role="student", width=0.25, mpp=0.5, tile_px=256)
    save(student, build_student(width=0.25).eval(), card)
    data = str(manifest(["he,ihc,grade", "he/0.png,ihc/0.png,1", "he/1.png,ihc/1.png,2"]))
    pixels = StoredDataSettings(mpp=0.5, labels=asked)
    compute = ParallelComputeSettings(device="cpu")
    found = evaluate(data, {"student": student}, out, CohortSettings(), pixels, compute)
    assert found["data"].endswith(f"labels: {on_card}")
    assert on_page in (out / "evaluation.html").read_text(encoding="utf-8")
