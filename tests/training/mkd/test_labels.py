"""Label tables: classes, missing labels, slides and patients."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pandas", reason="needs the extra `train`")

import pandas as pd

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.labels import LabelTable, read_labels


def labels_of(folder: Path, text: str, target: str = "HER2", classes: tuple[str, ...] = ()):
    (folder / "labels.csv").write_text(text)
    return read_labels(folder / "labels.csv", target, classes)


def column(*values: str) -> str:
    return "case,HER2\n" + "".join(f"P{n},{value}\n" for n, value in enumerate(values))


def found(table: LabelTable) -> list[int | None]:
    return [case.label for case in table.cases]


@pytest.mark.parametrize(
    ("values", "given", "classes", "labels", "ordinal"),
    [
        (["pos", "neg", "pos"], (), ("neg", "pos"), [1, 0, 1], False),
        (["pos", "neg", "pos"], ("pos", "neg"), ("pos", "neg"), [0, 1, 0], False),
        (["10", "9", "9"], (), ("9", "10"), [1, 0, 0], False),
        (["1.0", "", "0", "1"], (), ("0", "1"), [1, None, 0, 1], False),
        (["2", "0", "3", "1"], (), ("0", "1", "2", "3"), [2, 0, 3, 1], True),
        (["2", "0", "2.0"], ("2.0", "0"), ("2", "0"), [0, 1, 0], False),
        (["c", "a", "b"], (), ("a", "b", "c"), [2, 0, 1], False),
        (["mid", "low", "high"], ("low", "mid", "high"), ("low", "mid", "high"), [1, 0, 2], True),
        (
            ["a", "NA", "b", "nan", " ", "N/A"],
            (),
            ("a", "b"),
            [0, None, 1, None, None, None],
            False,
        ),
        (["a", "Equivocal", "None"], (), ("Equivocal", "None", "a"), [2, 0, 1], False),
        (["a", "Equivocal", "b"], ("b", "a"), ("b", "a"), [1, None, 0], False),
        (["1+", "0", "inf"], (), ("0", "1+", "inf"), [1, 0, 2], False),
    ],
)
def test_classes_are_numbers_by_value_texts_by_the_alphabet_or_as_given(
    values: list[str],
    given: tuple[str, ...],
    classes: tuple[str, ...],
    labels: list[int | None],
    ordinal: bool,
    tmp_path: Path,
) -> None:
    table = labels_of(tmp_path, column(*values), classes=given)
    assert (table.classes, found(table), table.ordinal) == (classes, labels, ordinal)
    assert [case.name for case in table.cases] == [f"P{n}" for n in range(len(values))]


def test_a_value_that_is_no_class_is_kept_for_the_list_of_what_is_left_out(tmp_path: Path) -> None:
    table = labels_of(tmp_path, column("a", "Equivocal", "b", ""), classes=("a", "b"))
    assert [case.value for case in table.cases] == ["a", "Equivocal", "b", ""]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1.0, None, 0.0]),
        pd.Series([1, None, 0], dtype="Int64"),
        pd.Series(["1", None, "0"], dtype="category"),
    ],
    ids=["floats", "nullable", "categories"],
)
def test_parquet_keeps_which_labels_are_missing(values: pd.Series, tmp_path: Path) -> None:
    frame = pd.DataFrame({"case": ["A", "B", "C"], "HER2": values})
    frame.to_parquet(tmp_path / "labels.parquet")
    table = read_labels(tmp_path / "labels.parquet", "HER2")
    assert (table.classes, found(table)) == (("0", "1"), [1, None, 0])


def test_a_row_of_parquet_is_counted_from_one(tmp_path: Path) -> None:
    frame = pd.DataFrame({"case": ["A", "B", "A"], "HER2": [1, 0, 1]})
    frame.to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(DataError, match=r"labels\.parquet row 3: the case A has a row already"):
        read_labels(tmp_path / "labels.parquet", "HER2")


def test_slides_stand_in_one_cell_or_in_several_rows(tmp_path: Path) -> None:
    text = "Case,SLIDE,HER2,Patient\nA,s1; s2,1,anna\nB,s3,0,\nA,s2;s4,1,anna\nC,,0,carl\n"
    a, b, c = labels_of(tmp_path, text).cases
    assert (a.slides, b.slides, c.slides) == (("s1", "s2", "s4"), ("s3",), ())
    assert (a.patient, b.patient, c.patient) == ("anna", "B", "carl")


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("TCGA-A1-A0SB-01", "TCGA-A1-A0SB"),
        ("TCGA-A1-A0SB", "TCGA-A1-A0SB"),
        ("TCGA-A1-A0SBX", "TCGA-A1-A0SBX"),
        ("P1-01", "P1-01"),
    ],
)
def test_a_case_without_a_patient_is_one_unless_its_barcode_tells(
    case: str, patient: str, tmp_path: Path
) -> None:
    table = labels_of(tmp_path, f"case,HER2\n{case},1\nB,0\n")
    assert table.cases[0].patient == patient


@pytest.mark.parametrize("unknown", ["", "NA", "unknown", "None"])
def test_cases_whose_patient_nobody_knows_are_not_of_one_patient(
    unknown: str, tmp_path: Path
) -> None:
    table = labels_of(tmp_path, f"case,patient,HER2\nA,{unknown},1\nB,{unknown},0\nC,anna,0\n")
    assert [case.patient for case in table.cases] == ["A", "B", "anna"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (column("0", "1"), {"target": "ER"}, "no column ER; its columns are case, HER2"),
        ("name,HER2\nA,1\n", {}, "no column case; its columns are name, HER2"),
        ("case,Case,HER2\nA,A,1\n", {}, "columns are there more than once: case"),
        ("case,patient,HER2\nA,A,1\n", {"target": "patient"}, "the column patient is no target"),
        (column("1", "1", ""), {}, "1 is the only class"),
        (column("", "NA"), {}, "no case has a label"),
        (column(*map(str, range(11))), {}, "11 classes, of which 10 .* continuous column"),
        (column("a", "b"), {"classes": ("a", "B")}, "no case is B; the values are a, b"),
        (column("a", "b"), {"classes": ("a", "a")}, "classes are there more than once: a"),
        (column("a", "b"), {"classes": ("a",)}, "a is the only class"),
        ("case,HER2\nA,1\n,0\n", {}, "line 3: the cell case is empty"),
        ("case,HER2\nA,1\nB,0\nA,1\n", {}, "line 4: the case A has a row already"),
        (
            "case,slide,HER2\nA,s,1\nB,t,0\nA,u,0\n",
            {},
            "line 4: HER2 of the case A is '0', but '1'",
        ),
        (
            "case,slide,patient,HER2\nA,s,p,1\nB,t,q,0\nA,u,q,1\n",
            {},
            "line 4: patient of the case A is 'q', but 'p'",
        ),
        (
            "case,patient,HER2\nA,Anna,1\nB,anna,0\nC,NA,0\nD,na,0\n",
            {},
            "one patient is written 'Anna' and 'anna'",
        ),
        (
            "case,patient,HER2\nTCGA-AA-0001-01A,,1\nB,tcga-aa-0001,0\n",
            {},
            "one patient is written 'TCGA-AA-0001' and 'tcga-aa-0001'",
        ),
    ],
)
def test_labels_that_cannot_be_used_are_refused_by_name(
    text: str, options: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"labels\.csv.*{message}"):
        labels_of(tmp_path, text, **options)
