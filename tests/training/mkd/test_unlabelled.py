"""Cases to be predicted: which bags are judged together, by whose genes, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.mkd.unlabelled import unlabelled_cases

SEVERAL = ("P1-01 P1-02", "TCGA-A1-A0SB-01A TCGA-A1-A0SB-01B")
"""Rows of which none is told to be the one that is meant."""


def found(
    folder: Path, bags: str, table: str | None = None, genes: str | None = None
) -> list[tuple[str, list[str], str]]:
    """Case, its bags and its row of genes, of bags and rows named in one line each."""
    path = None
    if table is not None:
        path = folder / "cases.csv"
        path.write_text(table)
    rows = None
    if genes is not None:
        names = tuple(genes.split())
        rows = GeneTable(names, ("TP53",), np.ones((len(names), 1), np.float32))
    cases = unlabelled_cases({name: Path(f"{name}.h5") for name in bags.split()}, path, rows)
    return [(case.name, [bag.stem for bag in case.bags], case.genes) for case in cases]


def test_without_a_table_each_bag_is_by_itself(tmp_path: Path) -> None:
    assert found(tmp_path, "P1_a P1_b P2", genes="P1") == [
        ("", ["P1_a"], "P1"),
        ("", ["P1_b"], "P1"),
        ("", ["P2"], ""),
    ]


@pytest.mark.parametrize(
    "table",
    [
        "case,HER2\nP1,1\nP2,\n",
        "case,slide\nP1,\nP2,P2.svs\n",
        "patient,Case,Slide\nx,P1,P1_a; P1_b\ny,P2,P2\n",
        "case,slide\nP1,P1_a.svs\nP2,P2.svs\nP1,P1_b.ome.tiff\n",
    ],
    ids=["label table", "names tell", "one cell", "several rows"],
)
def test_bags_belong_to_cases_as_in_training(table: str, tmp_path: Path) -> None:
    assert found(tmp_path, "P1_a P1_b P2", table) == [
        ("P1", ["P1_a", "P1_b"], ""),
        ("P2", ["P2"], ""),
    ]


@pytest.mark.parametrize(
    ("case", "rows", "row"),
    [
        ("P1", "P1 P1-02", "P1"),
        ("P1", "P1-01 P10", "P1-01"),
        ("P1", "P1-01 P1-02", ""),
        ("P1", "P10", ""),
        ("P1_left", "P1 P2", "P1"),
        ("TCGA-A1-A0SB-01Z", "TCGA-A1-A0SB-01A-11R TCGA-A1-A0SC-01A", "TCGA-A1-A0SB-01A-11R"),
        ("TCGA-A1-A0SB-01Z", "TCGA-A1-A0SB-01A TCGA-A1-A0SB-01B", ""),
        ("TCGA-A1-A0SB-01Z", "TCGA-A1-A0SB-11A TCGA-A1-A0SB-01A", "TCGA-A1-A0SB-01A"),
        ("TCGA-A1-A0SB-01Z", "TCGA-A1-A0SB-11A", ""),
    ],
)
def test_a_case_has_the_row_of_its_name_or_the_only_one_that_can_be_meant(
    case: str, rows: str, row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = f"case,slide\n{case},s1;s2\n"
    assert found(tmp_path, "s1 s2", table, rows) == [(case, ["s1", "s2"], row)]
    told = f"1 names with several rows of genes, judged without: {case}"
    assert (told in capsys.readouterr().err) == (rows in SEVERAL)


def test_what_the_table_does_not_match_is_told_and_no_bag_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "case,slide\nP1,P1_a;gone.svs\nP2,\nP3,\n"
    assert found(tmp_path, "P1_a P1_b P3 x", table, "P1 x") == [
        ("P1", ["P1_a"], "P1"),
        ("P3", ["P3"], ""),
        ("", ["P1_b"], "P1"),
        ("", ["x"], "x"),
    ]
    told = capsys.readouterr().err
    assert "1 cases without a bag: P2" in told
    assert "1 listed slides without a bag: gone.svs" in told
    assert "2 bags of no case, each judged by itself: P1_b, x" in told


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("case,slide\nP1,s1\nP2,s1.svs\n", "s1.svs is listed for the cases P1 and P2"),
        ("case,slide\nQ1,\nQ2,t\n", "none of the 2 cases of .* has a bag"),
        ("name,slide\nP1,s1\n", "no column case; its columns are name, slide"),
        ("case,HER2\nP1,1\nP1,1\n", "line 3: the case P1 has a row already"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(table: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        found(tmp_path, "s1 P1", table)
