"""`heatmap.png`: the expected grades over the slide, with legend, scale bar and the model's notice."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_hmkd.export.provenance import png_text
from napari_hmkd.grading import SlideGrading
from napari_hmkd.palette import HATCH, colourise
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY

SIDE_PX = 1024  # longest side of the slide in the picture
OPACITY = 0.5
_MARGIN, _LINE, _TEXT, _GAP = 12, 24, 16, 8  # px; the text's size fits Pillow's own font
_BAR = 80  # px of the colours from one grade to the next
_PANEL_WIDTH = 560  # narrowest panel that holds the legend
_INK, _RED, _GREY = "#141414", "#b40000", "#a0a0a0"


def write_picture(grading: SlideGrading, path: Path) -> np.ndarray:
    """Draw the expected grades over the slide, undecided tiles hatched, and save them as PNG.

    The file carries its provenance, see `png_text`.

    Returns
    -------
    uint8 (height, width, 3)
        The slide alone, its longer side at most `SIDE_PX`.
    """
    below = grading.plan.slide.thumbnail(SIDE_PX)
    under = _squares_under(grading, *below.shape[:2])
    picture = _overlay(below, grading.heatmap.expected_grade[under])
    if (undecided := grading.heatmap.undecided) is not None:
        ImageDraw.Draw(picture).bitmap((0, 0), _hatching(undecided[under]), _INK)
    _cross_out(picture, grading)
    _scale_bar(picture, grading)
    panel = _panel(grading, max(picture.width, _PANEL_WIDTH))
    page = Image.new("RGB", (panel.width, picture.height + panel.height), "white")
    page.paste(picture, ((page.width - picture.width) // 2, 0))
    page.paste(panel, (0, picture.height))
    page.save(path, pnginfo=png_text(grading))
    return below


def _squares_under(grading: SlideGrading, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Which square of the `TileGrid` lies under the middle of each pixel of a picture of the slide."""
    size, grid = grading.plan.slide.size, grading.plan.grid
    y = (np.arange(height) + 0.5) * (size.height / height) / grid.step_px[0]
    x = (np.arange(width) + 0.5) * (size.width / width) / grid.step_px[1]
    return np.ix_(y.astype(int).clip(max=grid.rows - 1), x.astype(int).clip(max=grid.columns - 1))


def _overlay(below: np.ndarray, expected_grade: np.ndarray) -> Image.Image:
    """The grades' colours over a slide, for each pixel uint8 (3) and its grade."""
    above = colourise(expected_grade)
    alpha = OPACITY * above[..., 3:]
    blend = (1 - alpha) * below + alpha * 255 * above[..., :3]
    return Image.fromarray(np.rint(blend).astype(np.uint8))


def _hatching(where: np.ndarray) -> Image.Image:
    """A stencil of thin half-opaque lines over the pixels asked for: bool (height, width).

    They lie so many pixels apart, not parts of a tile as on screen, where one can zoom: however small
    the tiles are, their colours are seen between the lines.
    """
    y, x = (np.arange(side) % len(HATCH) for side in where.shape)
    return Image.fromarray(np.uint8(255 * OPACITY) * HATCH[np.ix_(y, x)] * where)


def _cross_out(picture: Image.Image, grading: SlideGrading) -> None:
    """Mark what could not be read."""
    draw, grid = ImageDraw.Draw(picture), grading.plan.grid
    size = grading.plan.slide.size
    px = np.array((picture.height / size.height, picture.width / size.width))  # rounded apart
    for corner in grid.origins(np.argwhere(grading.heatmap.unreadable)) * px:
        (y, x), (bottom, right) = corner.tolist(), (corner + grid.step_px * px).tolist()
        draw.rectangle((x, y, right, bottom), outline=_INK)
        draw.line((x, y, right, bottom), fill=_INK)
        draw.line((x, bottom, right, y), fill=_INK)


def _scale_bar(picture: Image.Image, grading: SlideGrading) -> None:
    """Draw a round length of at most a quarter of the width, lower left."""
    um_per_px = grading.plan.grid.slide_mpp[1] * grading.plan.slide.size.width / picture.width
    longest_um = um_per_px * picture.width / 4
    decade = 10.0 ** np.floor(np.log10(longest_um))
    length_um = decade * max(n for n in (1, 2, 5) if n * decade <= longest_um)
    label = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} um"
    x, y = _MARGIN, picture.height - _MARGIN
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y - 5, x + length_um / um_per_px, y), fill=_INK, outline="white")
    draw.text((x, y - 10), label, _INK, _font(), anchor="ls", stroke_width=2, stroke_fill="white")


def _panel(grading: SlideGrading, width: int) -> Image.Image:
    """Legend, what the grades are and mean, and the notice."""
    card = grading.plan.card
    legend = _legend(grading)
    columns = int((width - 2 * _MARGIN) / _font().getlength("n"))
    lines = [(_INK, line) for line in textwrap.wrap(_caption(grading), columns)]
    lines += [(_RED, line) for line in textwrap.wrap(card.notice, columns)]
    height = 2 * _MARGIN + _LINE * (len(legend) + len(lines))
    panel = Image.new("RGB", (width, height), "white")
    draw, y = ImageDraw.Draw(panel), _MARGIN
    for row in legend:
        x = _MARGIN
        for part in row:
            if isinstance(part, str):
                draw.text((x, y), part, _INK, _font())
                x += int(_font().getlength(part)) + _GAP
            else:
                panel.paste(part, (x, y))
                x += part.width + _GAP
        y += _LINE
    for colour, line in lines:
        draw.text((_MARGIN, y), line, colour, _font())
        y += _LINE
    return panel


def _legend(grading: SlideGrading) -> list[list[Image.Image | str]]:
    """Rows of colours and words: what goes from grade to grade, and below it what else there is."""
    first, *higher = grading.plan.card.class_names
    grades: list[Image.Image | str] = [f"expected grade: {first}"]
    for grade, name in enumerate(higher):
        grades += [_bar(grade), name]
    unit = "tiles" if grading.plan.grid.overlap == 1 else "squares"
    undecided, unreadable = grading.heatmap.undecided, grading.heatmap.unreadable
    others: list[Image.Image | str] = []
    if undecided is not None and undecided.any():
        others += [_swatch("white", True), f"undecided: {undecided.sum()} {unit}"]
    if unreadable.any():
        others += [_swatch(_GREY), f"unreadable: {unreadable.sum()} {unit}"]
    return [grades, others] if others else [grades]


def _bar(grade: int) -> Image.Image:
    """The colours from a grade to the next."""
    colours = colourise(np.linspace(grade, grade + 1, _BAR))[None, :, :3]
    return Image.fromarray(np.rint(255 * colours).astype(np.uint8)).resize((_BAR, _TEXT + 1))


def _swatch(colour: str, hatched: bool = False) -> Image.Image:
    swatch = Image.new("RGB", (_TEXT + 1, _TEXT + 1), colour)
    draw = ImageDraw.Draw(swatch)
    if hatched:
        draw.bitmap((0, 0), _hatching(np.ones(swatch.size, bool)), _INK)
    draw.rectangle((0, 0, _TEXT, _TEXT), outline=_INK)
    return swatch


def _caption(grading: SlideGrading) -> str:
    summary, card = grading.heatmap.summary(), grading.plan.card
    alone = ", in tiles of marked regions alone" if grading.plan.settings.only_regions else ""
    shares = zip(card.class_names, summary.share, strict=True)
    most_probable = ", ".join(f"{name} on {share:.0%}" for name, share in shares)
    mean = "" if summary.expected_grade is None else f", {summary.expected_grade:.2f} on average"
    return (
        f"HER2 grade expected from H&E, {card.name}{mean}; {sum(summary.area_mm2):.1f} mm2 of tissue graded"
        f"{alone}, the most probable grade is {most_probable} of it; {NO_SCORE}; {RESEARCH_ONLY}"
    )


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
