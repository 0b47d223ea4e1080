"""The picture of a heatmap: slide, grades, what is uncertain, and what must be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from napari_hmkd.export import picture
from napari_hmkd.export.picture import write_picture
from napari_hmkd.grading import OpenModel, SlideGrading
from napari_hmkd.heatmap import Heatmap
from napari_hmkd.palette import colourise

Grade = Callable[..., SlideGrading]
DECIDED, UNDECIDED = (1.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.0, 0.0)


def drawn(grading: SlideGrading, path: Path) -> np.ndarray:
    write_picture(grading, path)
    with Image.open(path) as page:
        return np.array(page.convert("RGB")).astype(int)


@pytest.fixture
def set_model(colour_model: OpenModel) -> OpenModel:
    """One with prediction sets: a grade belongs to them from 0.3 on."""
    return replace(
        colour_model, card=replace(colour_model.card, conformal_thresholds=(0.3, 0.3, 0.3, 0.3))
    )


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """All that is written in pictures from now on, and where it ends, px from the left."""
    found: dict[str, float] = {}
    plain = ImageDraw.ImageDraw.text

    def text(self, xy, words: str, fill, font, *more, **options) -> None:
        found[words] = xy[0] + font.getlength(words)
        plain(self, xy, words, fill, font, *more, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


def test_it_shows_the_slide_the_grades_and_the_notice(tmp_path: Path, grade_painted: Grade) -> None:
    grading = grade_painted([[0, 1, -1], [3, 2, 3]])
    page = drawn(grading, tmp_path / "heatmap.png")
    height, width = grading.plan.slide.thumbnail(1024).shape[:2]
    assert page.shape[0] > height
    assert page.shape[1] >= width
    square = page[20:180, 20:200]  # grade 0: blue over pink, half and half
    half = (np.array([225, 140, 190]) + np.array([44, 123, 182])) / 2
    assert np.abs(square.mean(axis=(0, 1)) - half).max() <= 1
    glass = page[20:200, 532:740].reshape(-1, 3)
    assert (glass == 243).all()
    panel = page[height:]
    red = (panel[..., 0] > 150) & (panel[..., 1:].max(axis=-1) < 60)
    assert red.sum() > 200, "the notice is drawn in red"


@pytest.mark.parametrize("tile_side_px", [4, 30, 128])
def test_undecided_tiles_are_hatched_whatever_their_size_and_keep_their_colour(
    tmp_path: Path,
    grade_painted: Grade,
    set_model: OpenModel,
    monkeypatch: pytest.MonkeyPatch,
    tile_side_px: int,
) -> None:
    monkeypatch.setattr(picture, "SIDE_PX", 8 * tile_side_px)
    grading = grade_painted([[0] * 8] * 4, batches=0, model=set_model)
    undecided = np.zeros((4, 8), bool)
    undecided[:, 2:6] = True
    grading.heatmap.probabilities[:] = np.where(undecided[..., None], UNDECIDED, DECIDED)
    hatched = drawn(grading, tmp_path / "hatched.png")
    monkeypatch.setattr(Heatmap, "undecided", None)
    plain = drawn(grading, tmp_path / "plain.png")

    height, width = grading.plan.slide.thumbnail(8 * tile_side_px).shape[:2]
    left = (plain.shape[1] - width) // 2
    seen = np.s_[:height, left : left + width]
    changed = (hatched[seen] != plain[seen]).any(axis=-1)
    bar = plain[seen].min(axis=-1) < 80  # the scale bar lies over all
    where = undecided.repeat(tile_side_px, axis=0).repeat(tile_side_px, axis=1)
    assert not changed[~where].any()
    assert changed[where & ~bar].mean() == pytest.approx(1 / 8, abs=0.03)
    assert (hatched[seen][changed] < plain[seen][changed]).all(), "lines are darker"


@pytest.mark.parametrize(
    ("mpp", "side_px", "said", "bar_px"),
    [(4.0, 768, "500 um", 125), (4.0, 384, "500 um", 62.5), (8.0, 768, "1 mm", 125)],
)
def test_the_scale_bar_is_as_long_as_it_says(
    tmp_path: Path,
    grade_painted: Grade,
    words: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    mpp: float,
    side_px: int,
    said: str,
    bar_px: float,
) -> None:
    monkeypatch.setattr(picture, "SIDE_PX", side_px)
    grading = grade_painted([[0, 1, 0], [3, 2, 3]], mpp=mpp)
    page = drawn(grading, tmp_path / "heatmap.png")
    assert said in words
    height = grading.plan.slide.thumbnail(side_px).shape[0]
    dark = page[height - 30 : height].max(axis=-1) < 40
    assert dark.sum(axis=1).max() == pytest.approx(bar_px, abs=2)


def test_the_legend_counts_undecided_and_unreadable_tiles_and_fits_a_narrow_slide(
    tmp_path: Path, grade_painted: Grade, set_model: OpenModel, words: dict[str, float]
) -> None:
    grading = grade_painted([[0], [1], [2], [3]], [(3, 0)], model=set_model)
    grading.heatmap.probabilities[:2, 0] = UNDECIDED
    page = drawn(grading, tmp_path / "heatmap.png")
    assert {"undecided: 2 tiles", "unreadable: 1 tiles", "2+"} <= set(words)
    assert page.shape[1] >= 500
    assert max(words.values()) <= page.shape[1]


def test_where_nothing_is_undecided_or_unreadable_the_legend_does_not_speak_of_it(
    tmp_path: Path, grade_painted: Grade, set_model: OpenModel, words: dict[str, float]
) -> None:
    drawn(grade_painted([[0, 1]], model=set_model), tmp_path / "heatmap.png")
    assert "expected grade: 0" in words
    assert not any(one.startswith(("undecided", "unreadable")) for one in words)


def test_the_legend_is_of_the_expected_grade_whose_colours_it_has_and_shares_are_said_to_be_others(
    tmp_path: Path, grade_painted: Grade, words: dict[str, float]
) -> None:
    """A tile that is 1+ or 3+ with even odds is drawn as 2+, though it is 2+ least of all."""
    grading = grade_painted([[0]], batches=0)
    grading.heatmap.probabilities[:] = (0.0, 0.51, 0.0, 0.49)
    page = drawn(grading, tmp_path / "heatmap.png")
    legend = page[grading.plan.slide.thumbnail(1024).shape[0] :]
    for expected_grade in (0.5, 1.0, 1.98, 3.0):
        colour = np.rint(255 * colourise(np.array(expected_grade))[:3])
        assert (np.abs(legend - colour).max(axis=-1) <= 3).any(), expected_grade
    said = " ".join(words)
    assert "expected grade: 0 1+ 2+ 3+ " in said
    assert "1.98 on average" in said
    assert "the most probable grade is 0 on 0%, 1+ on 100%, 2+ on 0%, 3+ on 0% of it" in said
