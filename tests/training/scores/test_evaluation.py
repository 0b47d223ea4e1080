"""evaluation.json, evaluation.html and predictions.csv in a folder."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.page_layout import require_wide_tables_to_scroll

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")
pytest.importorskip("matplotlib", reason="needs the extra `train`")
pytest.importorskip("jinja2", reason="needs the extra `train`")

from napari_hmkd.training.scores.evaluation import write_evaluation
from napari_hmkd.training.scores.predictions import read_predictions

NOTICE = "trained on random numbers, research use only"


class Links(HTMLParser):
    """Everything a page would fetch or lead to, and its tags still open."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.targets += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, graded, card) -> tuple[Path, dict]:
    """A folder that an evaluation of oracle and student was written to, and what it returned."""
    folder = tmp_path_factory.mktemp("Auswertung süd")
    tiles, logits = graded(60)
    found = write_evaluation(
        folder, tiles, {"student": logits}, {"student": card}, part="test",
        grades={"oracle": np.array([tile.grade for tile in tiles])},
        data="Gewebe <b>süd</b>", split="not by patient", labels="slide",
        fit={"best": float("nan")},
    )  # fmt: skip
    return folder, found


@pytest.fixture
def page(written: tuple[Path, dict]) -> str:
    return (written[0] / "evaluation.html").read_text(encoding="utf-8")


def test_three_files_and_no_other_are_written(written: tuple[Path, dict]) -> None:
    folder, found = written
    names = {path.name for path in folder.iterdir()}
    assert names == {"evaluation.json", "evaluation.html", "predictions.csv"}
    text = (folder / "evaluation.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    read = json.loads(text)
    assert read["graders"] == found["graders"]
    assert read["fit"] == {"best": None}
    assert list(read_predictions(folder / "predictions.csv")[1]) == ["oracle", "student"]


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.open == []
    # The oracle's confusion; the student's confusion, reliability, ROC and conformal sets.
    assert len(links.targets) == 5
    for target in links.targets:
        encoded = target.removeprefix("data:image/png;base64,")
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as picture:
            assert min(picture.size) > 300
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    assert "http" not in re.sub(r'src="[^"]*"', "", page)


def test_its_tables_scroll_on_a_phone_and_have_names(page: str) -> None:
    assert require_wide_tables_to_scroll(page) == [
        "What was scored",
        "Scores",
        "Scores of oracle by label",
        "Scores of student by label",
        "Model card of student",
        "About the run",
        "Versions",
    ]


def test_the_page_says_what_a_reader_must_know(written: tuple[Path, dict], page: str) -> None:
    kappa = written[1]["graders"]["student"]["quadratic_weighted_kappa"]
    for words in (
        NOTICE,
        "none is an ASCO/CAP score",
        "Gewebe &lt;b&gt;süd&lt;/b&gt;",
        "not by patient",
        "grade of the whole slide",
        f"{kappa['value']:.3f} [{kappa['interval_95'][0]:.3f}",
        "few tiles make it too high, and its interval still more",
        "no interval: the draws show no spread (coverage of 3+)",
        "other tissue may not repeat",
        "grade 3+ belongs to every prediction set",
        "temperature",
        "napari-hmkd",
    ):
        assert words in page
    assert "guarantee" not in page.lower()


@pytest.mark.parametrize("labelled", [0, 1])
def test_few_or_no_labels_still_make_a_page(tmp_path: Path, graded, card, labelled: int) -> None:
    tiles, logits = graded(6)
    tiles = [replace(t, grade=t.grade if i < labelled else None) for i, t in enumerate(tiles)]
    found = write_evaluation(
        tmp_path, tiles, {"student": logits}, {"student": card}, part="validation"
    )
    assert found["tiles_without_label"] == 6 - labelled
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert f"{6 - labelled} more have no label" in page
    assert "undefined" in page
    assert "no interval: one patient alone has none" in page or not labelled


def test_pictures_touch_no_window_system(page: str) -> None:
    assert "data:image/png" in page
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
