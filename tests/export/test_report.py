"""`report.html`: one page that needs nothing else and says what it must."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests.page_layout import require_wide_tables_to_scroll

from napari_hmkd.export import write_results
from napari_hmkd.grading import OpenModel, start_grading
from napari_hmkd.palette import GRADE_COLOURS, colourise
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import regions_of_shapes
from napari_hmkd.slide import open_slide

NAME = "R&D ü.tif" if sys.platform == "win32" else "R&D <b>ü.tif"
TUMOUR = [(0, 0), (0, 512), (512, 512), (512, 0)]


class Page(HTMLParser):
    """The words of a page, every address in it, and what is said in place of drawings."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.labels: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if ("role", "img") in attrs:
            self.labels.append(dict(attrs)["aria-label"] or "")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def page(tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel) -> Page:
    path = paint_slide(tmp_path / NAME, [[0, 1], [2, 3]])
    (region,) = regions_of_shapes([("invasive tumour", [("polygon", TUMOUR)])])
    with open_slide(path) as slide:
        grading = start_grading(slide, colour_model, regions=[region])
        list(grading.run())
        write_results(grading, tmp_path / "out")
    page = Page()
    page.feed((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    page.summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    return page


def test_it_needs_no_other_file(page: Page) -> None:
    assert len(page.addresses) == 2
    assert all(address.startswith("data:image/") for address in page.addresses)


def test_its_tables_scroll_on_a_phone_and_have_names(page: Page, tmp_path: Path) -> None:
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert require_wide_tables_to_scroll(html) == [
        "Area of each grade, region invasive tumour",
        "Area of each grade, all graded tissue",
        "Settings and provenance",
    ]


def test_it_has_all_its_parts(page: Page, tmp_path: Path) -> None:
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    titles = ["Heatmap", "Slide", "Tissue by expected grade", "Settings and provenance"]
    assert [title for title in titles if f"<h2>{title}</h2>" not in html] == []
    heights = [float(found) for found in re.findall(r'style="height: ([\d.]+)%', html)]
    assert len(heights) == 24
    assert sum(height > 90 for height in heights) == 4, "one square of each grade"
    assert "The highest bar is 1.0" in page.text


def test_the_histogram_is_in_words_too(page: Page) -> None:
    (said,) = page.labels
    assert re.fullmatch(r"([\d.]+ to [\d.]+: 1\.0\d mm2(; )?){4}", said), "one square of each grade"
    assert said.startswith("0.00 to 0.12: 1.0")


def test_the_bars_have_the_colours_of_the_heatmap(page: Page, tmp_path: Path) -> None:
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    bars = re.findall(r'%; background: #(\w{6})" title="([\d.]+) to ([\d.]+):', html)
    assert len(bars) == 24
    for colour, low, high in bars:
        middle = 255 * colourise(np.array((float(low) + float(high)) / 2))[:3]
        assert list(bytes.fromhex(colour)) == pytest.approx(middle, abs=2), low


def test_its_colours_are_printed(page: Page, tmp_path: Path) -> None:
    """Browsers leave out backgrounds, unless told."""
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert ".swatch, .bars { print-color-adjust: exact; }" in html


def test_it_says_what_the_grades_are_and_are_not(page: Page) -> None:
    text = page.text
    assert "Research use only." in text
    assert "By area of tiles, not by cells: not an ASCO/CAP score." in text
    assert page.summary["notice"][1:] in text
    assert f"{NAME}: HER2 grade expected from H&E" in text
    assert "3+ : the highest grade" in text or "3+: the highest grade" in text
    assert "Region: invasive tumour" in text


def test_it_carries_all_of_the_provenance(page: Page) -> None:
    for value in (
        page.summary["slide"]["fingerprint"],
        page.summary["model"]["sha256"],
        page.summary["slide"]["backend"],
        page.summary["slide"]["mpp_source"],
        page.summary["versions"]["torch"],
        page.summary["precision"],
    ):
        assert value
        assert value in page.text


def test_of_tissue_in_regions_alone_it_says_so(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    regions = regions_of_shapes([("stroma", [("polygon", np.array(TUMOUR) / 4)])])
    with open_slide(paint_slide(tmp_path / "slide.tif", [[0, 1], [2, 3]])) as slide:
        settings = GradeSettings(only_regions=True)
        grading = start_grading(slide, colour_model, settings, regions=regions)
        list(grading.run())
        write_results(grading, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<h2>All graded tissue: only tiles that reach into a marked region</h2>" in html
    assert "marked: &#39;stroma&#39;" in html


def test_tiles_that_could_not_be_read_are_told_once(
    tmp_path: Path, paint_slide: Callable[..., Path], colour_model: OpenModel
) -> None:
    path = paint_slide(tmp_path / "torn.tif", [[0, 1], [2, 3]], damaged=[(0, 1)])
    with open_slide(path) as slide:
        grading = start_grading(slide, colour_model)
        list(grading.run())
        write_results(grading, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.count("could not be read") == 1


def test_each_grade_has_its_colour_and_area(page: Page, tmp_path: Path) -> None:
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for colour, (name, grade) in zip(GRADE_COLOURS, page.summary["grades"].items(), strict=True):
        assert f"background: {colour}" in html
        assert f"{grade['area_mm2']:.2f}" in page.text, name
