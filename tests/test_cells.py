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
    assert separator(header, ()) == parted_by


@pytest.mark.parametrize(
    ("header", "parted_by"),
    [
        ("slide\tScore\tnotes, free, text, more, and, more", "\t"),
        ('"slide"; "score"; notes, free, text, more', ";"),
        ("notes, free, text, more; slide ;score\r\n", ";"),
        ("slide;note, note, note", ";"),
        ("case;ER", ";"),
    ],
    ids=["tabs", "quoted names", "at the end", "one of two", "none of them"],
)
def test_what_parts_the_columns_that_are_needed_parts_the_table(
    header: str, parted_by: str
) -> None:
    assert separator(header, ("slide", "SCORE")) == parted_by


@pytest.mark.parametrize(
    ("cell", "told"),
    [("2+", "2+"), ("NA", ""), ("n/a", ""), ("nan", ""), ("", ""), ("#N/A", ""), ("#n/a", ""), ("#NV", ""), ("#nv", ""), ("nv", "nv"), ("Na", ""), ("NAN", ""), ("unknown", "unknown"), ("NAN1", "NAN1")],
)  # fmt: skip
def test_a_cell_that_says_na_says_nothing(cell: str, told: str) -> None:
    assert cell_told(cell) == told
