"""Of which part of a DICOM slide each level is: some scanners fill their levels up to whole frames.

Philips' do, each level by itself: the sizes of two levels then tell no step between them, and what lies
at the far end of the slide would be moved by hundreds of pixels. Their pixel spacing tells the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from napari_hmkd.errors import SlideError
from napari_hmkd.geometry import Size
from napari_hmkd.slide.backends.dicom_header import DicomHeader
from napari_hmkd.slide.backends.protocol import Level, same_proportions

_ROUNDED = 0.005
"""As far as a spacing of three digits is from the true one."""

_MOST_FILLED = 2
"""Frames, at the right and at the lower edge: a part of one, and one that is all empty."""


def placed_levels(
    levels: Sequence[Level], images: Sequence[DicomHeader], name: str
) -> tuple[Level, ...]:
    """Levels with the steps that their pixel spacing tells, less what they were filled up with.

    Parameters
    ----------
    levels : sequence of Level
        As the files' sizes tell, from the finest on.
    images : sequence of DicomHeader
        Those of the slide.
    name : str
        The slide's, for messages.

    Returns
    -------
    The levels; unchanged are those whose size is that of level 0 divided by one step, and those of
    which no spacing is known.

    Raises
    ------
    SlideError
        One shows another part of the glass than level 0.
    """
    known = {image.size: image for image in images}
    base = known.get(levels[0].size)
    placed = [levels[0]]
    for level in levels[1:]:
        image = known.get(level.size)
        if base and image and base.spacing_mm and image.spacing_mm:
            longer = int(base.size.width > base.size.height)
            step = image.spacing_mm[longer] / base.spacing_mm[longer]
            if abs(step - round(step)) <= 2 * _ROUNDED * step:  # whole but for the rounding
                step = float(round(step))
            level = _placed(level, base, step, name)
        placed.append(level)
    return tuple(placed)


def _placed(level: Level, base: DicomHeader, step: float, name: str) -> Level:
    """A level, where `step` is what the spacing tells."""
    whole, stored, tile = base.size, level.size, level.tile
    sides = [
        (whole.height / step, stored.height, tile.height),
        (whole.width / step, stored.width, tile.width),
    ]
    similar = same_proportions(stored, whole)
    if similar and all(abs(true - side) <= 1 + _ROUNDED * side for true, side, _ in sides):
        return level
    filled = all(side % frame == 0 and side - true >= -1 for true, side, frame in sides)
    near = all(abs(side - true) <= _MOST_FILLED * frame for true, side, frame in sides)
    if step > 1 and near and (filled or not similar):
        height, width = (min(side, max(1, round(true))) for true, side, _ in sides)
        return replace(level, size=Size(height, width), downsample=step)
    if similar:  # the spacing is level 0's own, say
        return level
    raise SlideError(
        f"'{name}' is no slide that can be graded: its series has several images, of {whole.height:,} x "
        f"{whole.width:,} and {stored.height:,} x {stored.width:,} px, that by their pixel spacing show "
        "different parts of the glass. Put the files of each into a folder of their own."
    )
