"""Choosing genes and their scale on the training fold alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.genes.selection import GeneSelection
from napari_hmkd.genes.table import GeneTable
from napari_hmkd.training.mkd.plan import read_selection
from napari_hmkd.training.mkd.ranking import read_ranking
from napari_hmkd.training.mkd.selection import fit_selection, require_known

GENES = ("CALM", "ERBB2|2064", "FLAT", "WILD", "GRB7")
SPREAD = np.array([1, 5, 0, 9, 3])
TRAINED = [f"P{n}" for n in range(20)]
TESTED = [f"P{n}" for n in range(20, 30)]


@pytest.fixture
def table() -> GeneTable:
    """Genes that vary by `SPREAD` around 7."""
    noise = np.random.default_rng(0).standard_normal((30, len(GENES)))
    return GeneTable((*TRAINED, *TESTED), GENES, (7 + SPREAD * noise).astype(np.float32))


def test_the_genes_that_vary_most_come_first(table: GeneTable) -> None:
    selection = fit_selection(table, TRAINED, top=3)
    assert selection.genes == ("WILD", "ERBB2|2064", "GRB7")


def test_values_of_other_cases_change_nothing_of_the_fit(table: GeneTable) -> None:
    other = table.values.copy()
    other[20:] = np.random.default_rng(1).uniform(-1e6, 1e6, other[20:].shape)
    other[20:, 2] = 3e7
    first = fit_selection(table, TRAINED, top=4)
    second = fit_selection(GeneTable(table.cases, GENES, other), TRAINED, top=4)
    assert first.to_json() == second.to_json()
    third = fit_selection(GeneTable(table.cases, GENES, other), table.cases, top=4)
    assert third.to_json() != first.to_json()


def test_tokens_are_standardised_by_the_training_cases_and_filled_up_with_zeros(
    table: GeneTable,
) -> None:
    selection = fit_selection(table, TRAINED, token_genes=3)
    tokens = selection.tokens(table, TRAINED)
    assert (tokens.shape, tokens.dtype) == ((20, 2, 3), np.float32)
    flat = tokens.reshape(20, 6)
    np.testing.assert_allclose(flat[:, :4].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(flat[:, :4].std(0), 1, atol=1e-5)
    column = table.values[:20, 3].astype(np.float64)
    np.testing.assert_allclose(flat[:, 0], (column - column.mean()) / column.std(), rtol=1e-5)
    assert not flat[:, 5].any()


def test_a_gene_that_is_constant_in_training_is_shifted_but_not_scaled(table: GeneTable) -> None:
    values = table.values.copy()
    values[:20, 2], values[25, 2] = 0.1, 4.1  # 0.1 is no exact float: rounding is no spread
    selection = fit_selection(GeneTable(table.cases, GENES, values), TRAINED)
    assert (selection.genes[-1], selection.std[-1]) == ("FLAT", 1)
    tokens = selection.tokens(GeneTable(table.cases, GENES, values), ["P0", "P25"])
    np.testing.assert_allclose(tokens.reshape(2, -1)[:, 4], [0, 4], atol=1e-6)


@pytest.mark.parametrize("name", ["ERBB2", "ERBB2|2064"])
def test_genes_are_left_out_before_the_top_is_taken(name: str, table: GeneTable) -> None:
    assert fit_selection(table, TRAINED, top=2, exclude=[name]).genes == ("WILD", "GRB7")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("erbb2", r"ERBB2\|2064:"),
        ("2064", r"ERBB2\|2064:"),
        ("ENSG00000141736", r"ENSG00000141736\.14:"),
        ("ENSG00000141736.9", r"ENSG00000141736\.14:"),
        ("HER2", r"ERBB2\|2064, ENSG00000141736\.14, GRB7:"),
    ],
)
def test_a_gene_to_leave_out_that_the_table_lacks_is_refused_with_the_genes_of_near_names(
    name: str, near: str
) -> None:
    genes = ["ERBB2|2064", "ENSG00000141736.14", "GRB7", "TP53"]
    with pytest.raises(DataError, match=f"leave out {name}, which .* does not have; it has {near}"):
        require_known(["GRB7", name], genes)


def test_genes_to_leave_out_that_the_table_has_are_no_fault() -> None:
    require_known(["ERBB2", "GRB7"], ["ERBB2|2064", "GRB7", "TP53"])


def test_a_ranking_takes_the_place_of_variance_and_unknown_genes_are_told(
    table: GeneTable,
) -> None:
    ranking = ["FLAT", "NOWHERE", "GRB7", "ERBB2", "CALM"]
    selection = fit_selection(table, TRAINED, top=2, ranking=ranking, exclude=["GRB7"])
    assert selection.genes == ("FLAT", "ERBB2|2064")
    assert selection.not_ranked == ("NOWHERE",)


def test_equal_variances_keep_the_tables_order() -> None:
    table = GeneTable(("P1", "P2"), tuple("cab"), np.array([[0, 5, 2], [1, 6, 3]], np.float32))
    assert fit_selection(table, ["P1", "P2"], top=2).genes == ("c", "a")


def test_a_saved_selection_gives_the_same_tokens_of_any_table_with_its_genes(
    table: GeneTable,
) -> None:
    selection = fit_selection(table, TRAINED, top=4, exclude=["CALM"], token_genes=2)
    again = GeneSelection.from_json(json.loads(json.dumps(selection.to_json())))
    assert again.to_json() == selection.to_json()
    turned = GeneTable(table.cases[::-1], GENES[::-1], table.values[::-1, ::-1])
    expected = selection.tokens(table, TESTED)
    np.testing.assert_array_equal(again.tokens(turned, TESTED), expected)


def test_a_table_without_a_gene_of_the_network_is_refused(table: GeneTable) -> None:
    selection = fit_selection(table, TRAINED)
    less = GeneTable(table.cases, GENES[:3], table.values[:, :3])
    with pytest.raises(DataError, match=r"lacks 2 of the 5 genes .* trained on: WILD, GRB7"):
        selection.tokens(less, TESTED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"exclude": ["CALM", "ERBB2", "FLAT", "WILD", "GRB7"]},
            "no gene is left of the table's 5",
        ),
        ({"ranking": ["ENSG1"]}, "no gene is left .* 0 are in the ranking"),
    ],
)
def test_a_selection_without_genes_is_refused(
    options: dict, message: str, table: GeneTable
) -> None:
    with pytest.raises(DataError, match=message):
        fit_selection(table, TRAINED, **options)


@pytest.mark.parametrize(
    "change",
    [{"mean": [1.0]}, {"std": None}, {"std": [0.0] * 5}, {"genes": 3}, {"token_genes": "many"}],
)
def test_a_damaged_selection_is_refused(change: dict, table: GeneTable) -> None:
    content = fit_selection(table, TRAINED).to_json()
    with pytest.raises(DataError, match="selection of"):
        GeneSelection.from_json(content | change)


@pytest.mark.parametrize("text", ["{}", '{"genes"'])
def test_the_damaged_genes_of_a_fold_are_named_with_their_remedy(text: str, tmp_path: Path) -> None:
    (tmp_path / "genes.json").write_text(text)
    with pytest.raises(
        DataError, match=r"genes\.json cannot be read: .* Delete this fold and --resume"
    ):
        read_selection(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "ERBB2\nTP53\n",
        "gene\tp\nERBB2\t0.01\nTP53\t0.2\n",
        "Hugo_Symbol\nERBB2\n\nTP53",
        '"ERBB2",1\nTP53;2',
    ],
)
def test_a_ranking_is_the_first_column_in_its_order(text: str, tmp_path: Path) -> None:
    (tmp_path / "ranking.txt").write_text(text)
    assert read_ranking(tmp_path / "ranking.txt") == ["ERBB2", "TP53"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("A\nB\nA\n", "ranked genes are there more than once: A"), ("gene\n", "ranks no gene")],
)
def test_a_ranking_with_no_gene_or_one_twice_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "ranking.txt").write_text(text)
    with pytest.raises(DataError, match=rf"ranking\.txt.*{message}"):
        read_ranking(tmp_path / "ranking.txt")
