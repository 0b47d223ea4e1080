"""Which genes a slide has, and what M says with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.bags.bag import Bag
from napari_hmkd.bags.packing import pack
from napari_hmkd.biomarkers.case_genes import GeneSource, open_genes
from napari_hmkd.biomarkers.encoders import Encoder
from napari_hmkd.biomarkers.prediction import BiomarkerModel, open_biomarkers, predict
from napari_hmkd.biomarkers.slide import start_biomarkers
from napari_hmkd.errors import DataError, ModelError
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import Slide

HEADER = "case,ERBB2,ESR1,GRB7\n"


@pytest.fixture
def model(multimodal_file: Path) -> BiomarkerModel:
    return open_biomarkers(multimodal_file)


@pytest.fixture
def source(gene_file: Path, model: BiomarkerModel) -> GeneSource:
    return open_genes(gene_file, model.path, model.card)


@pytest.fixture
def bag(encoder: Encoder) -> Bag:
    features = np.random.default_rng(0).normal(size=(5, encoder.feature_dim)).astype(np.float32)
    return Bag("a", features, np.zeros((5, 2)))


@pytest.mark.parametrize(
    ("slide", "row"),
    [
        ("P1.svs", "P1"),
        ("P2_block 3.ome.tiff", "P2"),
        ("P1", "P1"),
        ("TCGA-A1-A0SB-06Z-00-DX1.svs", "TCGA-A1-A0SB-06A"),
    ],
)
def test_a_slides_genes_are_those_of_the_row_that_its_name_begins_with(
    source: GeneSource, slide: str, row: str
) -> None:
    found = source.of_slide(slide)
    assert (found.row, found.missing, found.file) == (row, "", "genes.csv")


@pytest.mark.parametrize(
    ("slide", "missing"),
    [
        ("P10.svs", "genes.csv has no row of genes for P10"),
        ("TCGA-A1-A0SB-left.svs", "genes.csv has 2 rows that may be meant by TCGA-A1-A0SB-left"),
        (
            "TCGA-A1-A0SB-11A-02-TS2.svs",
            "genes.csv has no row of genes for TCGA-A1-A0SB-11A-02-TS2",
        ),
    ],
)
def test_where_no_row_is_told_it_says_why_and_p_answers(
    source: GeneSource, bag: Bag, model: BiomarkerModel, slide: str, missing: str
) -> None:
    found = source.of_slide(slide)
    assert (found.row, found.missing) == ("", missing)
    with_table, without = predict(bag, model, "cpu", found), predict(bag, model, "cpu")
    for one, other in zip(with_table, without, strict=True):
        assert (one.network, one.temperature) == ("P", one.target.temperature)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_with_genes_m_answers_at_its_own_temperature(
    source: GeneSource, bag: Bag, model: BiomarkerModel
) -> None:
    found = predict(bag, model, "cpu", source.of_slide("P1.tif"))
    # (5 - 1) / 1, (9 - 2) / 0.5, (4 - 0) / 2 by the order and scale that the file tells of
    tokens = torch.tensor([[[4.0, 14], [2, 0]]])
    for one in found:
        with torch.inference_mode():
            output = source.models[one.target.name].network(pack([bag.features]), tokens)
        assert (one.network, one.temperature) == ("M", 0.5)
        expected = torch.softmax(output.logits[0] / 0.5, dim=0)
        np.testing.assert_allclose(one.probabilities, expected, rtol=1e-5)
        np.testing.assert_allclose(one.attention, output.attention, rtol=1e-5)
        assert one.attention.sum() == pytest.approx(1)
    other = predict(bag, model, "cpu", source.of_slide("P2.tif"))
    assert not np.allclose(other[0].probabilities, found[0].probabilities, rtol=1e-3)


def test_a_slide_says_which_network_answered_and_warns_where_genes_were_not_found(
    slide: Slide, encoder: Encoder, model: BiomarkerModel, source: GeneSource
) -> None:
    settings = GradeSettings(device="cpu")
    genes = source.of_slide(slide.name)  # TCGA-01, of no patient of the table
    without = start_biomarkers(slide, model, encoder, settings, genes=genes)
    assert without.answered_by == "network P, from H&E alone"
    assert without.warnings[-1].endswith("genes.csv has no row of genes for TCGA-01")
    with_genes = start_biomarkers(slide, model, encoder, settings, genes=source.of_slide("P1"))
    assert with_genes.answered_by == "network M, from H&E and genes (row P1 of genes.csv)"
    assert with_genes.warnings == without.warnings[:-1]
    unlike = replace(source.of_slide("P1"), warning="on another scale")
    warned = start_biomarkers(slide, model, encoder, settings, genes=unlike)
    assert warned.warnings == (*with_genes.warnings, "on another scale")
    list(with_genes.run())
    assert {one.network for one in with_genes.predictions} == {"M"}


@pytest.mark.parametrize(
    ("case", "row"), [("P1", "P1"), ("TCGA-A1-A0SB-06", "TCGA-A1-A0SB-06A"), ("P2 left", "P2")]
)
def test_a_case_that_is_named_is_every_slides(
    gene_file: Path, model: BiomarkerModel, case: str, row: str
) -> None:
    source = open_genes(gene_file, model.path, model.card, case)
    assert {source.of_slide(name).row for name in ("P1.svs", "P2.svs", "x.svs")} == {row}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("P3", "of the case P3, but genes.csv has no row .* such as P1, P2, TCGA-A1-A0SB-01A$"),
        ("TCGA-A1-A0SB", "has 2 rows .* such as TCGA-A1-A0SB-01A, TCGA-A1-A0SB-06A$"),
    ],
)
def test_a_case_that_is_named_must_have_one_row(
    gene_file: Path, model: BiomarkerModel, case: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_genes(gene_file, model.path, model.card, case)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,ERBB2,TP53\nP1,1,2\n", "own.csv: .* lacks 2 of the 3 genes .*: GRB7, ESR1"),
        ("case,ERBB2,ESR1,GRB7,ESR1\nP1,1,2,3,4\n", "columns are there more than once: ESR1"),
        (HEADER + "P1,1,2,3\nP1,1,2,3\n", "cases are there more than once: P1"),
        (HEADER + "P1,1,,3\n", "gene ESR1 of case P1 is missing"),
        (HEADER + "P1,1,high,3\n", "gene ESR1 of case P1 is 'high', no number"),
        ("", "own.csv"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, model: BiomarkerModel, text: str, message: str
) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        open_genes(tmp_path / "own.csv", model.path, model.card)


def test_genes_on_the_scale_of_training_are_not_warned_of(source: GeneSource) -> None:
    assert {source.of_slide(name).warning for name in ("P1.svs", "P2.svs", "P3.svs")} == {""}


def test_genes_on_another_scale_are_warned_of(tmp_path: Path, model: BiomarkerModel) -> None:
    # (6 - 1) / 1, (9 - 2) / 0.5, (12 - 0) / 2 deviations; a single one that is far is no other scale
    (tmp_path / "raw.csv").write_text(HEADER + "P1,9,12,6\nP2,900,1,1\n")
    source = open_genes(tmp_path / "raw.csv", model.path, model.card)
    assert source.of_slide("P1.svs").warning == (
        "half of the genes of P1 in raw.csv lie more than 6 standard deviations from the training cases: is "
        "the table on the scale of training, such as a logarithmic one?"
    )
    assert source.of_slide("P2.svs").warning == ""


def test_a_model_of_p_alone_refuses_genes(gene_file: Path, biomarkers_file: Path) -> None:
    model = open_biomarkers(biomarkers_file)
    with pytest.raises(ModelError, match=r"genes\.csv with random biomarkers, whose file holds P"):
        open_genes(gene_file, model.path, model.card)
