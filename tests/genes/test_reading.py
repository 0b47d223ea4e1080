"""Gene tables: layouts, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_hmkd.errors import DataError
from napari_hmkd.genes.reading import read_genes
from napari_hmkd.genes.table import GeneTable

CASES, GENES = ("P1", "P2", "007"), ("ERBB2", "TP53")
VALUES = np.array([[1.5, 2], [3, -4.25], [0, 6]], np.float32)
PLAIN = "case,ERBB2,TP53\nP1,1.5,2\nP2,3,-4.25\n007,0,6\n"
CBIOPORTAL = (
    "Hugo_Symbol\tEntrez_Gene_Id\tP1\tP2\t007\nERBB2\t2064\t1.5\t3\t0\nTP53\t7157\t2\t-4.25\t6\n"
)


def written(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def frame() -> pd.DataFrame:
    return pd.DataFrame(VALUES, index=list(CASES), columns=list(GENES))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("genes.csv", PLAIN),
        ("genes.csv.gz", PLAIN),
        ("genes.tsv", PLAIN.replace(",", "\t")),
        ("semicolons.csv", PLAIN.replace(",", ";")),
        ("byte order mark.csv", "\ufeff" + PLAIN),
        ("windows.csv", PLAIN.replace("\n", "\r\n")),
        ("blank lines.csv", PLAIN.replace("\n", "\n\n")),
        ("quoted.csv", PLAIN.replace("P1", '" P1 "')),
        ("empty columns.csv", "".join(f"{line},,\n" for line in PLAIN.splitlines())),
        ("empty cells.csv", PLAIN.replace("2\n", "2,,\n").replace("6\n", "6,\n")),
        ("blank line of commas.csv", PLAIN + ",,,,\n"),
        ("no corner.tsv", PLAIN.replace("case", "").replace(",", "\t")),
        ("data_mrna.txt", CBIOPORTAL),
        ("data_mrna.txt.gz", CBIOPORTAL),
        (
            "without ids.txt",
            CBIOPORTAL.replace("\tEntrez_Gene_Id", "").replace("\t2064", "").replace("\t7157", ""),
        ),
    ],
)
def test_a_table_of_text_is_read_in_either_layout(name: str, text: str, tmp_path: Path) -> None:
    table = read_genes(written(tmp_path / name, text))
    assert (table.cases, table.genes) == (CASES, GENES)
    assert table.values.dtype == np.float32
    np.testing.assert_array_equal(table.values, VALUES)


def test_commas_in_the_names_of_samples_part_nothing(tmp_path: Path) -> None:
    sample = "P1, left, upper, outer, 2nd, block"
    table = read_genes(written(tmp_path / "g.txt", CBIOPORTAL.replace("P1", sample)))
    assert table.cases == (sample, "P2", "007")


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("name", ["genes.parquet", "GENES.PARQUET"])
def test_parquet_is_read_with_its_cases_as_index_or_as_first_column(
    name: str, indexed: bool, tmp_path: Path
) -> None:
    cases = frame() if indexed else frame().rename_axis("case").reset_index()
    cases.to_parquet(tmp_path / name)
    table = read_genes(tmp_path / name)
    assert (table.cases, table.genes) == (CASES, GENES)
    np.testing.assert_array_equal(table.values, VALUES)


def test_a_missing_value_of_parquet_is_named(tmp_path: Path) -> None:
    frame().round().astype("Int64").mask(VALUES == 6).to_parquet(tmp_path / "g.parquet")
    with pytest.raises(DataError, match=r"g\.parquet: gene TP53 of case 007 is missing"):
        read_genes(tmp_path / "g.parquet")


def test_parquet_in_cbioportals_layout_is_read(tmp_path: Path) -> None:
    frame().T.rename_axis("Hugo_Symbol").reset_index().to_parquet(tmp_path / "genes.parquet")
    table = read_genes(tmp_path / "genes.parquet")
    assert (table.cases, table.genes) == (CASES, GENES)


def test_entrez_ids_of_parquet_stay_whole_numbers_where_one_is_missing(tmp_path: Path) -> None:
    columns = {
        "Hugo_Symbol": ["ERBB2", "X", "X"],
        "Entrez_Gene_Id": [None, 1, 2],
        "P1": [1.0, 2, 3],
    }
    pd.DataFrame(columns).to_parquet(tmp_path / "genes.parquet")
    assert read_genes(tmp_path / "genes.parquet").genes == ("ERBB2", "X|1", "X|2")


@pytest.mark.parametrize("dtype", ["float32", "Float64"])
def test_parquet_without_names_of_cases_is_refused(dtype: str, tmp_path: Path) -> None:
    frame().reset_index(drop=True).astype(dtype).to_parquet(tmp_path / "genes.parquet")
    with pytest.raises(DataError, match=r"genes\.parquet: ERBB2 should hold names"):
        read_genes(tmp_path / "genes.parquet")


def test_parquet_may_name_cases_by_whole_numbers(tmp_path: Path) -> None:
    frame().assign(case=[12, 3, 7]).set_index("case").to_parquet(tmp_path / "genes.parquet")
    assert read_genes(tmp_path / "genes.parquet").cases == ("12", "3", "7")


def test_genes_whose_symbol_is_shared_or_missing_are_told_apart_by_their_entrez_id(
    tmp_path: Path,
) -> None:
    text = "Hugo_Symbol\tEntrez_Gene_Id\tP1\nSLC35E2\t9906\t1\nSLC35E2\t728661\t2\n\t100130426\t3\nTP53\t7157\t4\n"
    table = read_genes(written(tmp_path / "g.txt", text))
    assert table.genes == ("SLC35E2|9906", "SLC35E2|728661", "?|100130426", "TP53")
    assert table.values.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("TP53", "ERBB2"), "1 columns are there more than once: ERBB2"),
        (PLAIN.replace("P2", "P1"), "1 cases are there more than once: P1"),
        (CBIOPORTAL.replace("TP53\t7157", "ERBB2\t2064"), r"more than once: ERBB2\|2064"),
        (CBIOPORTAL.replace("P2", "P1"), "columns are there more than once: P1"),
        (PLAIN.replace("-4.25", "high"), "gene TP53 of case P2 is 'high', no number"),
        (CBIOPORTAL.replace("-4.25", "high"), "gene TP53 of case P2 is 'high', no number"),
        (
            PLAIN.replace(",", ";").replace(".", ","),
            "gene ERBB2 of case P1 is '1,5', no number; .*, and write decimals with a point",
        ),
        (PLAIN.replace("-4.25", "True"), "gene TP53 of case P2 is 'True', no number"),
        (PLAIN.replace("-4.25", "NA"), "gene TP53 of case P2 is missing or not finite"),
        (PLAIN.replace("-4.25", "#n/a"), "gene TP53 of case P2 is missing or not finite"),
        (PLAIN.replace("-4.25", ""), "gene TP53 of case P2 is missing or not finite"),
        (PLAIN.replace("-4.25", "inf"), "gene TP53 of case P2 is missing or not finite"),
        (PLAIN.replace("-4.25", "1e300"), "gene TP53 of case P2 is missing or not finite"),
        (PLAIN.replace("\n007,0,6", "\n007,0"), "gene TP53 of case 007 is missing"),
        (PLAIN.replace("P1,1.5,2", "P1,1.5,2,9"), "line 2 has more cells than the 3 of line 1"),
        (PLAIN.replace("P2,3,", "P2,3,9,"), "Expected 3 fields in line 3, saw 4"),
        (PLAIN.replace("\nP2", ",,\n\nP2,,"), "Expected 3 fields in line 4, saw 5"),
        (PLAIN.replace("P2", ""), "1 have no name"),
        (PLAIN.replace("P2", '"P2'), "cannot be read as a table: .*EOF inside string"),
        (PLAIN.splitlines()[0], "a gene table of 0 cases and 2 genes"),
        ("case\nP1\n", "fewer than two columns"),
        ("", "fewer than two columns"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_name(
    text: str, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "genes.csv", text)
    with pytest.raises(DataError, match=f"genes.csv.*{message}"):
        read_genes(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.csv.gz", gzip.compress(PLAIN.encode() * 99, mtime=0)[:60]),
        ("latin.csv", PLAIN.replace("P1", "Pü").encode("latin-1")),
        ("no.parquet", PLAIN.encode()),
        ("nowhere.csv", None),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(
    name: str, content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} cannot be read as a table"):
        read_genes(tmp_path / name)


def test_rows_come_in_the_order_asked_for_and_a_missing_case_is_named() -> None:
    table = GeneTable(CASES, GENES, VALUES)
    np.testing.assert_array_equal(table.rows(["007", "P1"]), VALUES[[2, 0]])
    with pytest.raises(DataError, match="has 3 cases and lacks P9"):
        table.rows(["P1", "P9"])


def test_values_of_another_shape_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"3 cases and 2 genes cannot have values of shape \(2, 3\)"
    ):
        GeneTable(CASES, GENES, VALUES.T)
