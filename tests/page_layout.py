"""A written page on a phone and by keyboard: what is wider than it scrolls within itself, and has a name."""

from __future__ import annotations

from html.parser import HTMLParser


class _Page(HTMLParser):
    """Whether a page takes the width of its screen, and the box around each of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.of_the_screen = False
        self.around_tables: list[dict[str, str | None]] = []
        self._boxes: list[dict[str, str | None]] = [{}]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "meta" and said.get("name") == "viewport":
            self.of_the_screen = "width=device-width" in (said["content"] or "")
        if tag == "table":
            self.around_tables.append(self._boxes[-1])
        if tag == "div":
            self._boxes.append(said)

    def handle_endtag(self, tag: str) -> None:
        if tag == "div":
            self._boxes.pop()


def require_wide_tables_to_scroll(text: str) -> list[str]:
    """The names of a page's tables, each of which scrolls on a narrow screen and by keyboard."""
    page = _Page(text)
    assert page.of_the_screen
    assert ".wide { overflow-x: auto; }" in text
    assert "@media print { .wide { overflow-x: visible; }" in text
    names = [box.pop("aria-label", None) or "" for box in page.around_tables]
    expected = {"class": "wide", "role": "region", "tabindex": "0"}
    assert [box for box in page.around_tables if box != expected] == []
    assert all(names)
    assert len({*names}) == len(names), "two of one name cannot be told apart"
    return names
