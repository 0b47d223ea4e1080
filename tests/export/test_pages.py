"""Pages on a phone: what is wider than it scrolls within itself."""

from __future__ import annotations

from html.parser import HTMLParser
from importlib.resources import files

import pytest


class Page(HTMLParser):
    """Whether a page takes the width of its screen, and the boxes around each of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.of_the_screen = False
        self.around_tables: list[list[str]] = []
        self._boxes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "meta" and said.get("name") == "viewport":
            self.of_the_screen = "width=device-width" in (said["content"] or "")
        if tag == "table":
            self.around_tables.append([*self._boxes])
        if tag == "div":
            self._boxes.append(said.get("class") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "div":
            self._boxes.pop()


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("napari_hmkd.export", ["slide.html", "report.html"]),
        ("napari_hmkd.export", ["slide.html", "biomarkers.html"]),
        ("napari_hmkd.export", ["cohort.html"]),
        ("napari_hmkd.training.scores", ["page.html"]),
    ],
)
def test_a_page_is_as_wide_as_a_phone_and_its_tables_scroll(package: str, names: list[str]) -> None:
    """A page's template is the first, or what fills it."""
    texts = [files(package).joinpath(name).read_text(encoding="utf-8") for name in names]
    pages = [Page(text) for text in texts]
    assert pages[0].of_the_screen
    assert all("{% extends" in text for text in texts[1:])
    assert ".wide { overflow-x: auto; }" in texts[0]
    for page in pages:
        assert page.around_tables
        assert [boxes for boxes in page.around_tables if boxes[-1:] != ["wide"]] == []
