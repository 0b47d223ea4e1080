"""What parts a table's cells, and which say nothing."""

from __future__ import annotations

import pytest

from napari_hmkd.cells import cell_told, separator


@pytest.mark.parametrize(
    ("header", "parted_by"),
    [
        ("case,ER", ","),
        ("case;ER", ";"),
        ("case\tER", "\t"),
        ('case;ER;"note: when, why, by whom"', ";"),
        ('"a;b;c",d,e', ","),
        ("case", ","),
        ("", ","),
    ],
    ids=["comma", "semicolon", "tab", "commas in quotes", "semicolons in quotes", "one", "none"],
)
def test_what_parts_most_of_the_header_outside_quotes_parts_the_table(
    header: str, parted_by: str
) -> None:
    assert separator(header) == parted_by


@pytest.mark.parametrize(
    ("cell", "told"),
    [("2+", "2+"), ("NA", ""), ("n/a", ""), ("nan", ""), ("", ""), ("unknown", "unknown"), ("NAN1", "NAN1")],
)  # fmt: skip
def test_a_cell_that_says_na_says_nothing(cell: str, told: str) -> None:
    assert cell_told(cell) == told
