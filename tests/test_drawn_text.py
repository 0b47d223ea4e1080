"""What users call slides and targets stands in figures as they wrote it, without a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from napari_hmkd.biomarkers.encoders import find_encoder
from napari_hmkd.biomarkers.prediction import open_biomarkers
from napari_hmkd.biomarkers.slide import start_biomarkers
from napari_hmkd.drawn_text import drawn_text
from napari_hmkd.export.attention_figure import write_figure
from napari_hmkd.export.biomarkers_gallery import write_gallery
from napari_hmkd.grading import open_model
from napari_hmkd.inspection.pair import StainPair
from napari_hmkd.planning import GradeSettings, tile_grid
from napari_hmkd.slide import open_slide

NO_FORMULA, JAPANESE = "$a_$ for 5 $", "日本"
SAID = f"{NO_FORMULA} {JAPANESE}"


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def slide_file(paint_slide: Callable[..., Path], tmp_path: Path) -> Path:
    return paint_slide(tmp_path / f"{SAID}.tif", [[0, 1]])


def ink(text: str, **options: Any) -> np.ndarray:
    """The pixels of a figure with a title."""
    figure = Figure(figsize=(3, 1))
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(text, **options)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@pytest.mark.parametrize(
    "text", ["case 7, ü", "for 5 $", "$a$", NO_FORMULA, "a\nb", "a_b^c \\alpha", "a \\$ b"]
)
def test_letters_of_the_font_are_drawn_as_they_are_written(text: str) -> None:
    np.testing.assert_array_equal(ink(drawn_text(text)), ink(text, parse_math=False))


def test_a_letter_that_the_font_lacks_is_a_box() -> None:
    assert drawn_text(f"a {JAPANESE}\tb") == "a □□□b"
    np.testing.assert_array_equal(ink(drawn_text(JAPANESE)), ink("□□"))


def test_a_gallery_is_drawn_whatever_slide_and_target_are_called(
    slide_file: Path, biomarkers_file: Path, student_file: Path, tmp_path: Path
) -> None:
    about = {"answered_by": SAID, "meaning": "", "notice": SAID}
    model, encoder = open_biomarkers(biomarkers_file), find_encoder(str(student_file))
    targets = tuple(replace(target, definition=SAID) for target in model.card.targets)
    model = replace(model, card=replace(model.card, targets=targets))
    with open_slide(slide_file, mpp=4.0) as slide:
        run = start_biomarkers(slide, model, encoder, GradeSettings(device="cpu"))
        list(run.run())
        write_gallery(run, about, tmp_path / "gallery.png")
    with Image.open(tmp_path / "gallery.png") as picture:
        assert picture.size[0] > 1000


def test_a_figure_of_attention_is_drawn_whatever_the_slide_is_called(
    slide_file: Path, student_file: Path, tmp_path: Path
) -> None:
    with open_slide(slide_file, mpp=4.0) as slide:
        pair = StainPair(slide, tile_grid(slide, open_model(student_file).card))
        write_figure(pair, None, [], {"notice": SAID}, tmp_path / "figure.png", SAID)
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.size[0] > 1000
