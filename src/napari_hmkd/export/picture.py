"""`heatmap.png`: the grades over the slide, with legend, scale bar and the model's notice."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_hmkd.grading import SlideGrading
from napari_hmkd.palette import GRADE_COLOURS, colourise
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY

SIDE_PX = 1024  # longest side of the slide in the picture
OPACITY = 0.5
_MARGIN, _LINE, _TEXT = 12, 24, 16  # px; the text's size fits Pillow's own font
_PANEL_WIDTH = 560  # narrowest panel that holds the legend
_INK, _RED, _GREY = "#141414", "#b40000", "#a0a0a0"


def write_picture(grading: SlideGrading, path: Path) -> None:
    """Draw the expected grades over the slide and save them as PNG."""
    picture = _overlay(grading)
    _cross_out(picture, grading)
    _scale_bar(picture, grading)
    panel = _panel(grading, max(picture.width, _PANEL_WIDTH))
    page = Image.new("RGB", (panel.width, picture.height + panel.height), "white")
    page.paste(picture, ((page.width - picture.width) // 2, 0))
    page.paste(panel, (0, picture.height))
    page.save(path)


def _overlay(grading: SlideGrading) -> Image.Image:
    slide, grid = grading.plan.slide, grading.plan.grid
    below = slide.thumbnail(SIDE_PX)
    height, width = below.shape[:2]
    # Which tile lies under the middle of each pixel of the picture.
    y = (np.arange(height) + 0.5) * (slide.size.height / height) / grid.step_px[0]
    x = (np.arange(width) + 0.5) * (slide.size.width / width) / grid.step_px[1]
    rows = y.astype(int).clip(max=grid.rows - 1)
    columns = x.astype(int).clip(max=grid.columns - 1)
    above = colourise(grading.heatmap.expected_grade)[np.ix_(rows, columns)]
    alpha = OPACITY * above[..., 3:]
    blend = (1 - alpha) * below + alpha * 255 * above[..., :3]
    return Image.fromarray(np.rint(blend).astype(np.uint8))


def _cross_out(picture: Image.Image, grading: SlideGrading) -> None:
    """Mark the tiles that could not be read."""
    draw, grid = ImageDraw.Draw(picture), grading.plan.grid
    size = grading.plan.slide.size
    px = np.array((picture.height / size.height, picture.width / size.width))  # rounded apart
    for tile in grading.heatmap.failed:
        corner = grid.origins(tile)[0] * px
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
    """Legend with shares, what the grades mean, and the notice."""
    summary, card = grading.heatmap.summary(), grading.plan.card
    swatches = [
        (colour, f"{name}: {share:.0%}")
        for colour, name, share in zip(GRADE_COLOURS, card.class_names, summary.share, strict=True)
    ]
    if summary.failed_tiles:
        swatches.append((_GREY, f"unreadable: {summary.failed_tiles} tiles"))
    columns = int((width - 2 * _MARGIN) / _font().getlength("n"))
    lines = [(_INK, line) for line in textwrap.wrap(_caption(grading), columns)]
    lines += [(_RED, line) for line in textwrap.wrap(card.notice, columns)]
    panel = Image.new("RGB", (width, 2 * _MARGIN + _LINE * (1 + len(lines))), "white")
    draw = ImageDraw.Draw(panel)
    x = _MARGIN
    for colour, label in swatches:
        draw.rectangle((x, _MARGIN, x + _TEXT, _MARGIN + _TEXT), fill=colour, outline=_INK)
        draw.text((x + _LINE, _MARGIN), label, _INK, _font())
        x += _LINE + int(_font().getlength(label)) + _LINE
    for number, (colour, line) in enumerate(lines, start=1):
        draw.text((_MARGIN, _MARGIN + number * _LINE), line, colour, _font())
    return panel


def _caption(grading: SlideGrading) -> str:
    area = sum(grading.heatmap.summary().area_mm2)
    return (
        f"HER2 grade expected from H&E, {grading.plan.card.name}; {area:.1f} mm2 of tissue graded, "
        f"{NO_SCORE}; {RESEARCH_ONLY}"
    )


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
