"""Texts that users wrote, as matplotlib is to draw them."""

from __future__ import annotations

from matplotlib.font_manager import FontProperties, findfont, get_font

_BOX = "\N{WHITE SQUARE}"


def drawn_text(text: str) -> str:
    """A name or sentence of any letters, for a figure.

    Letters that matplotlib's font lacks become boxes: it would draw these, too, but warn of each, which
    napari shows. Dollars are escaped, as it takes what stands between two of them for a formula, and
    fails where it is none.
    """
    letters = get_font(findfont(FontProperties())).get_charmap()
    known = "".join(one if one == "\n" or ord(one) in letters else _BOX for one in text)
    return known.replace("$", r"\$")
