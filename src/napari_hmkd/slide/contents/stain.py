"""What a slide is stained with, and whether it can be graded at all, before a tile is graded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from dask.system import CPU_COUNT
from scipy import ndimage

from napari_hmkd.slide.contents.density import channels_first, glass_colour, optical_density
from napari_hmkd.slide.contents.fields import Field, sample_fields
from napari_hmkd.slide.contents.focus import BLURRED, blurriness
from napari_hmkd.slide.contents.tissue import TissueMask, mask_overview, tissue_of
from napari_hmkd.slide.overview import Overview, fitted_size, read_overview
from napari_hmkd.slide.slide import Slide

_THUMBNAIL_PX = 512
_DARK, _LIGHT = 64, 128
_DARK_SHARE = 0.3  # H&E under a dim lamp has below 0.1, fluorescence from edge to edge 0.5
_NEAR_BLACK = 12  # a scanner's frame, with the noise of its compression
_BLURRED_SHARE = 1 / 3
_STAINED = 0.10  # optical density of the strongest channel; below it the ratios are noise
_FEWEST_PX = 100
# Both lie in gaps of the shares given at `_judge_colour`.
_DAB_SHARE = 0.02
_NO_EOSIN_SHARE = 0.02


class StainKind(StrEnum):
    """What a slide looks like."""

    H_AND_E = "H&E"
    IHC = "IHC"
    FLUORESCENCE = "fluorescence"
    BLANK = "blank"
    OUT_OF_FOCUS = "out of focus"
    UNKNOWN = "unknown stain"


@dataclass(frozen=True, slots=True)
class StainCheck:
    """What a slide looks like, and the numbers that say so.

    Attributes
    ----------
    kind : StainKind
    reason : str
        A clause that goes on from "the slide looks like ...".
    warnings : tuple of str
        What speaks against a part of it.
    """

    kind: StainKind
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def gradable(self) -> bool:
        """Whether nothing speaks against grading it as H&E."""
        return self.kind in (StainKind.H_AND_E, StainKind.UNKNOWN)


def check_stain(slide: Slide, tissue: TissueMask | None = None) -> StainCheck:
    """Tell H&E from fluorescence, IHC (haematoxylin and DAB), blank and out-of-focus slides.

    Fluorescence is dark where nothing is. The stain is read from the ratios of the optical densities
    of red, green and blue (Ruifrok and Johnston, Anal. Quant. Cytol. Histol. 23:291, 2001) in a dozen
    fields of tissue, and the focus from their detail; see `blurriness`. Whatever is doubtful passes:
    a faint DAB on few cells may be called H&E, but no H&E should be refused.

    Parameters
    ----------
    slide : Slide
        An open slide.
    tissue : TissueMask, optional
        Where the slide's tissue was found, or painted, already.

    Raises
    ------
    PixelSizeError
        The slide has no pixel size.
    SlideReadError
        Nothing of the slide can be read.
    """
    return examine(slide, tissue)[0]


def examine(slide: Slide, tissue: TissueMask | None = None) -> tuple[StainCheck, TissueMask | None]:
    """As `check_stain`, with the tissue: the given one, the one found, or None where there is none."""
    if tissue is None:
        overview = mask_overview(slide)
    else:
        overview = read_overview(slide, fitted_size(slide.size, _THUMBNAIL_PX))
    dark, light = _light_and_dark(overview)
    if dark > max(light, _DARK_SHARE):
        reason = (
            "a fluorescence scan, not a brightfield stain: "
            f"{dark:.0%} of it is dark and {light:.0%} light"
        )
        return StainCheck(StainKind.FLUORESCENCE, reason), tissue
    found = tissue or tissue_of(slide, overview)
    if not found.mask.any():
        reason = (
            "blank glass: no tissue larger than dust was found on it"
            if tissue is None
            else "a slide without tissue: the tissue layer given for it is empty (paint in it, or have "
            "the tissue found anew)"
        )
        return StainCheck(StainKind.BLANK, reason), tissue
    own_y, own_x = slide.require_mpp()
    um_per_px = max(own_y * overview.downsample[0], own_x * overview.downsample[1])
    glass = glass_colour(overview.pixels, um_per_px)
    return _judge(sample_fields(slide, found), glass), found


def _judge(fields: list[Field], glass: np.ndarray) -> StainCheck:
    """Stain and focus of fields of tissue of one slide, whose empty glass has a colour, 0 to 255."""
    with ThreadPoolExecutor(CPU_COUNT) as pool:
        blurs = list(pool.map(lambda field: blurriness(field.pixels, field.um_per_px), fields))
    judged = [blur for blur in blurs if blur is not None]
    blur = float(np.median(judged)) if judged else None
    if blur is not None and blur > BLURRED:
        reason = (
            f"a slide out of focus: the blur of {len(judged)} fields of tissue has a median of {blur:.2f} "
            f"on a scale from 0 to 1, and sharp slides stay below {BLURRED:.2f}"
        )
        return StainCheck(StainKind.OUT_OF_FOCUS, reason)
    check = _judge_colour([optical_density(f.pixels, glass)[:, f.tissue] for f in fields])
    soft = sum(blur > BLURRED for blur in judged)
    if soft and soft >= _BLURRED_SHARE * len(judged):
        warning = f"{soft} of {len(judged)} fields of tissue are out of focus: grades of such parts may suffer"
        return replace(check, warnings=(warning,))
    return check


def _judge_colour(densities: list[np.ndarray]) -> StainCheck:
    """H&E or IHC, from the densities of the tissue's pixels, each float (3, n).

    DAB absorbs blue most and red least, but not little; eosin green far more than either;
    haematoxylin red and green alike and blue less. Of the stained pixels at 1 um are brown: of H&E,
    scanned and drawn, 0.1 % at most (0.5 % with other amounts of stain and other lamps), of BCI's IHC
    21 % and more, of drawn IHC 2.2 % of a section of 1+ and more. Pink are: of H&E 26 % and more (5 %
    of the bluest fields under other lamps), of haematoxylin alone 0.9 % at most.
    """
    stained = np.concatenate([np.zeros((3, 0), np.float32), *densities], axis=1)
    stained = stained[:, stained.max(axis=0) > _STAINED]
    if stained.shape[1] < _FEWEST_PX:
        return StainCheck(
            StainKind.UNKNOWN, "a stain too faint, or on too little tissue, to be told"
        )
    red, green, blue = stained
    brown = np.mean(
        (blue > 1.1 * green) & (green > red) & (red > 0.15 * blue) & (red < 0.75 * blue)
    )
    pink = np.mean((green > 1.2 * red) & (green > 1.2 * blue))
    shares = f"{brown:.1%} of its stained pixels are brown and {pink:.1%} pink"
    if brown > _DAB_SHARE:
        return StainCheck(StainKind.IHC, f"IHC (haematoxylin and DAB), not H&E: {shares}")
    if pink < _NO_EOSIN_SHARE and np.median(blue) < 0.9 * np.median(green):
        return StainCheck(StainKind.IHC, f"IHC without DAB, not H&E: haematoxylin alone, {shares}")
    return StainCheck(StainKind.H_AND_E, f"H&E: {shares}")


def _light_and_dark(overview: Overview) -> tuple[float, float]:
    """Shares of what was scanned that is dark and light, in the middle one of its channels.

    Glass and most stained tissue are light; fluorescence is dark, with one or two bright channels.
    Pure black and pure white may be what a scanner left out, and so may a frame of near black; but a
    fluorescence's ground looks like one, and on it hardly anything is bright in all three channels.
    """
    every = max(1, max(overview.readable.shape) // _THUMBNAIL_PX)
    pixels, readable = overview.pixels[::every, ::every], overview.readable[::every, ::every]
    channels = channels_first(pixels)
    lowest, highest = channels.min(axis=0), channels.max(axis=0)
    scanned = readable & (highest > 0) & (lowest < 255)
    if not scanned.any():
        return (0.0, 1.0) if pixels[readable].any() else (1.0, 0.0)
    inside = scanned & ~_at_the_border(highest < _NEAR_BLACK)
    if inside.any() and np.median(lowest[inside]) >= _DARK:
        scanned = inside
    middle = (channels.sum(axis=0, dtype=np.uint16) - lowest - highest)[scanned]
    return float(np.mean(middle < _DARK)), float(np.mean(middle >= _LIGHT))


def _at_the_border(mask: np.ndarray) -> np.ndarray:
    """What of a mask is connected to the picture's border: bool (height, width)."""
    nothing = np.zeros_like(mask)
    return np.asarray(ndimage.binary_propagation(nothing, mask=mask, border_value=1))
