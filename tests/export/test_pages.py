"""What all pages are made with."""

from __future__ import annotations

from napari_hmkd.export.pages import flat


def test_nested_values_are_named_by_all_the_names_above_them() -> None:
    assert flat({"a": {"b": 1, "c": {"d": None}}, 1: {2: "e"}, 3: []}) == {
        "a.b": 1,
        "a.c.d": None,
        "1.2": "e",
        "3": [],
    }
