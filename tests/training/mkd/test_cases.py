"""Joining bags, genes and labels: by name, and nothing left out in silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas", reason="needs the extra `train`")

from napari_hmkd.bags.bag import Bag, write_bag
from napari_hmkd.errors import DataError
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.mkd.cases import Case, Exclusion, join_cases
from napari_hmkd.training.mkd.labels import LabelledCase, LabelTable

WriteBags = Callable[..., dict[str, Path]]


@pytest.fixture
def write_bags(tmp_path: Path) -> WriteBags:
    """Writes bags of one patch, and gives them by name."""

    def write(*names: str, features: int = 3) -> dict[str, Path]:
        paths = {name: tmp_path / f"{name}.h5" for name in names}
        for name, path in paths.items():
            write_bag(path, Bag(name, np.ones((1, features)), np.zeros((1, 2))))
        return paths

    return write


def genes_of(*cases: str) -> GeneTable:
    return GeneTable(cases, ("TP53",), np.ones((len(cases), 1), np.float32))


def labels_of(**slides: Sequence[str]) -> LabelTable:
    """Cases of two classes in turn, with these slides."""
    cases = tuple(
        LabelledCase(name.replace("_", "-"), name, tuple(own), str(n % 2), n % 2)
        for n, (name, own) in enumerate(slides.items())
    )
    return LabelTable("HER2", ("0", "1"), False, cases)


def test_cases_get_all_their_bags_and_the_row_of_their_genes(write_bags: WriteBags) -> None:
    bags = write_bags("A-2", "A-1", "B")
    cases, exclusions = join_cases(bags, genes_of("B-06", "A"), labels_of(A=(), B=()))
    assert cases == [
        Case("A", "A", (bags["A-2"], bags["A-1"]), 0, "A"),
        Case("B", "B", (bags["B"],), 1, "B-06"),
    ]
    assert exclusions == []


def test_without_a_gene_table_no_case_needs_genes(write_bags: WriteBags) -> None:
    cases, exclusions = join_cases(write_bags("A", "B"), None, labels_of(A=(), B=()))
    assert [case.genes for case in cases] == ["", ""]
    assert exclusions == []


def test_slides_that_the_table_lists_are_taken_in_its_order_with_or_without_suffix(
    write_bags: WriteBags,
) -> None:
    bags = write_bags("A-1", "x.1", "y", "B")
    cases, exclusions = join_cases(bags, None, labels_of(A=("y.svs", "x.1", "x.1.svs"), B=()))
    assert cases[0].bags == (bags["y"], bags["x.1"])
    assert exclusions == [Exclusion("bag", "A-1", "bag of no case in the label table")]


def test_whatever_is_left_out_is_listed_with_its_reasons(write_bags: WriteBags) -> None:
    labels = labels_of(A=(), B=("B", "gone"), C=(), D=(), E=())
    labels = LabelTable(
        "HER2",
        ("0", "1"),
        False,
        (
            *labels.cases,
            LabelledCase("F", "F", (), "", None),
            LabelledCase("G", "G", (), "Equivocal", None),
        ),
    )
    bags = write_bags("A", "B", "C", "E", "G", "stranger")
    genes = genes_of("A", "A-1", "B", "C-01", "C-06", "F", "G", "nobody")
    cases, exclusions = join_cases(bags, genes, labels)
    assert [case.name for case in cases] == ["A", "B"]
    assert {(one.kind, one.name): one.reason for one in exclusions} == {
        ("slide", "gone"): "slide of case B without a bag",
        ("bag", "stranger"): "bag of no case in the label table",
        ("genes", "nobody"): "genes of no case in the label table",
        ("genes", "A-1"): "genes of a case that has a row of its very name",
        ("case", "C"): "several rows of genes: C-01, C-06",
        ("case", "D"): "no bag; no genes",
        ("case", "E"): "no genes",
        ("case", "F"): "no label for HER2; no bag",
        ("case", "G"): "HER2 is 'Equivocal', which is none of 0, 1",
    }


def test_normal_tissue_of_a_tcga_patient_is_none_of_the_tumours_and_told(
    write_bags: WriteBags,
) -> None:
    tumours = ("TCGA-A1-A0SB-01A", "TCGA-A1-A0SC-01A")
    normal = ("TCGA-A1-A0SB-11A", "TCGA-A1-A0SD-11A")
    bags = write_bags(*tumours, *normal)
    labels = labels_of(TCGA_A1_A0SB=(), TCGA_A1_A0SC=(), TCGA_A1_A0SD=())
    cases, exclusions = join_cases(bags, genes_of(*tumours, *normal), labels)
    assert [(case.bags, case.genes) for case in cases] == [((bags[one],), one) for one in tumours]
    why = "of no case in the label table, normal tissue by its barcode"
    assert exclusions == [
        *(Exclusion(kind, one, f"{kind} {why}") for kind in ("bag", "genes") for one in normal),
        Exclusion("case", "TCGA-A1-A0SD", "no bag; no genes"),
    ]


@pytest.mark.parametrize("second", ["s", "s.svs"])
def test_a_slide_of_two_cases_is_refused(second: str, write_bags: WriteBags) -> None:
    with pytest.raises(DataError, match=rf"slide {second} is listed for the cases A and B"):
        join_cases(write_bags("s"), None, labels_of(A=("s",), B=(second,)))


def test_a_class_that_no_case_is_left_of_is_refused_with_an_example(
    write_bags: WriteBags,
) -> None:
    message = r"of 2 labelled cases 1 have all .* none of them is 1\. .*B \(no bag\).* stranger \(bag of no"
    with pytest.raises(DataError, match=message):
        join_cases(write_bags("A", "stranger", "other"), None, labels_of(A=(), B=()))


def test_bags_of_another_dimension_are_named(write_bags: WriteBags) -> None:
    bags = write_bags("A", "B") | write_bags("C", features=5)
    message = r"2 bags have 3 features a patch, and 1 have another number: .*C\.h5 \(5\)"
    with pytest.raises(DataError, match=message):
        join_cases(bags, None, labels_of(A=(), B=(), C=()))


def test_a_damaged_bag_is_named(write_bags: WriteBags) -> None:
    bags = write_bags("A", "B")
    bags["B"].write_bytes(bags["B"].read_bytes()[:600])
    with pytest.raises(DataError, match=r"B\.h5"):
        join_cases(bags, None, labels_of(A=(), B=()))
