"""Whose a slide, a bag or a row of genes is, by its name."""

from __future__ import annotations

import pytest

from napari_hmkd.genes.matching import case_of, rows_meant


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("TCGA-A1-A0SB", "TCGA-A1-A0SB"),
        ("TCGA-A1-A0SB-01Z-00-DX1.B34C", "TCGA-A1-A0SB"),
        ("TCGA-A1-A0SC-01Z-00-DX1.B34C", "TCGA-A1-A0SC-01Z"),
        ("P1_2", "P1"),
        ("P1 left", "P1"),
        ("P10", None),
        ("2-P1", None),
        ("TCGA-A1-A0SB-06A-01-TS1", "TCGA-A1-A0SB"),
        ("TCGA-A1-A0SB-11A-01-TS1", None),
        ("TCGA-A1-A0SB-10", None),
    ],
)
def test_a_name_belongs_to_the_longest_case_that_it_begins_with(
    name: str, case: str | None
) -> None:
    assert case_of(name, {"TCGA-A1-A0SB", "TCGA-A1-A0SC", "TCGA-A1-A0SC-01Z", "P1"}) == case


def test_a_slide_belongs_to_its_tcga_sample_whatever_the_vial() -> None:
    assert case_of("TCGA-A1-A0SB-01Z-00-DX1.uuid", {"TCGA-A1-A0SB-01"}) == "TCGA-A1-A0SB-01"
    assert case_of("TCGA-A1-A0SB-11A-01-TS1", {"TCGA-A1-A0SB-01"}) is None
    assert case_of("TCGA-A1-A0SB-11A-01-TS1", {"TCGA-A1-A0SB-11"}) == "TCGA-A1-A0SB-11"


@pytest.mark.parametrize(
    ("slide", "rows", "meant"),
    [
        ("P1", "P1 P1-02", ["P1"]),
        ("P1_left", "P1 P2", ["P1"]),
        ("P1_left", "P2 P10", []),
        ("P1", "P1-01 P1-02", []),
        ("TCGA-A1-A0SB-01Z-00-DX1", "TCGA-A1-A0SB-01A TCGA-A1-A0SC-01A", ["TCGA-A1-A0SB-01A"]),
        ("TCGA-A1-A0SB-01Z-00-DX1", "TCGA-A1-A0SB-01A TCGA-A1-A0SB-01B", None),
        ("TCGA-A1-A0SB", "TCGA-A1-A0SB-01A TCGA-A1-A0SB-06A", None),
        ("TCGA-A1-A0SB", "TCGA-A1-A0SB-01A TCGA-A1-A0SB-11A", ["TCGA-A1-A0SB-01A"]),
        ("TCGA-A1-A0SB", "TCGA-A1-A0SB-11A", []),
        ("TCGA-A1-A0SB-11A-01-TS1", "TCGA-A1-A0SB", []),
        ("TCGA-A1-A0SB-01Z-00-DX1", "TCGA-A1-A0SB-11A-33R", []),
        ("TCGA-A1-A0SB-01Z-00-DX1", "TCGA-A1-A0SB-11", []),
        ("TCGA-A1-A0SB-01Z-00-DX1", "TCGA-A1-A0SB-rna", ["TCGA-A1-A0SB-rna"]),
    ],
)
def test_a_slide_means_the_row_it_begins_with_or_those_of_its_tcga_patient(
    slide: str, rows: str, meant: list[str] | None
) -> None:
    names = rows.split()
    assert rows_meant((), (slide,), names) == {slide: names if meant is None else meant}


@pytest.mark.parametrize("kind", ["01", "06", "11"])
def test_a_tcga_slide_means_the_row_of_its_own_kind_of_sample(kind: str) -> None:
    rows = [f"TCGA-A1-A0SB-{code}A-11R" for code in ("01", "06", "11")]
    slide = f"TCGA-A1-A0SB-{kind}Z-00-DX1.uuid"
    assert rows_meant((), (slide,), rows) == {slide: [f"TCGA-A1-A0SB-{kind}A-11R"]}


def test_a_case_also_means_the_rows_that_begin_with_it() -> None:
    rows = ("P1-01", "P1-02", "P2", "P2-01")
    assert rows_meant(("P1", "P2"), (), rows) == {"P1": ["P1-01", "P1-02"], "P2": ["P2"]}


@pytest.mark.parametrize("others", [(), ("TCGA-A1-A0SB-01A",)])
def test_a_patients_case_never_means_the_genes_of_normal_tissue(others: tuple[str, ...]) -> None:
    patient = "TCGA-A1-A0SB"
    assert rows_meant((patient,), (), (*others, f"{patient}-11A")) == {patient: list(others)}
