"""Pixel size: which statement of a file is believed, and what is said when there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from napari_hmkd.errors import PixelSizeError

PLAUSIBLE_MPP = (0.05, 20.0)
"""Micrometres per pixel that a slide scanner can produce; 72 dpi (353 um/px) is a default tag."""

USER = "user"

_MOST_UNEQUAL = 1.1
_MOST_OFF_OBJECTIVE = 1.5  # 10 / power is not exact: slides called 20x have been found to be 22.6x
MAKE_SURE = "make sure of it, and state the right one if it is wrong (--mpp)"
OBJECTIVE_KEYS = (
    "openslide.objective-power",
    "aperio.AppMag",
    "hamamatsu.SourceLens",
    "ome.NominalMagnification",
)
"""Properties that name the objective's power."""

_UM_PER_UNIT = {
    **dict.fromkeys(("meter", "metre", "m"), 1e6),
    **dict.fromkeys(("centimeter", "centimetre", "cm"), 1e4),
    **dict.fromkeys(("millimeter", "millimetre", "mm"), 1e3),
    **dict.fromkeys(("micrometer", "micrometre", "micron", "um"), 1.0),
    # Two letters look so, and ImageJ writes the first one's number.
    **dict.fromkeys(("\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", r"\u00b5m"), 1.0),
    **dict.fromkeys(("nanometer", "nanometre", "nm"), 1e-3),
    **dict.fromkeys(("picometer", "picometre", "pm"), 1e-6),
    **dict.fromkeys(("angstrom", "\N{LATIN SMALL LETTER A WITH RING ABOVE}"), 1e-4),
    **dict.fromkeys(("inch", "in"), 25400.0),
}


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Micrometres per pixel (y, x), and where the number comes from."""

    mpp: tuple[float, float]
    source: str

    @property
    def plausible(self) -> bool:
        """Whether a slide can have this pixel size."""
        low, high = PLAUSIBLE_MPP
        return all(math.isfinite(value) and low <= value <= high for value in self.mpp)

    def __str__(self) -> str:
        """Y x X with the source, for messages."""
        y, x = self.mpp
        return f"{y:.5g} x {x:.5g} um/px ({self.source})"


def from_sides(y: float | None, x: float | None, source: str) -> PixelSize | None:
    """A file's statement in um/px; one side alone speaks for both, and none of them is no statement."""
    sides = [side for side in (y, x) if side is not None]
    return PixelSize((sides[0], sides[-1]), source) if sides else None


def stated_number(stated: Mapping[str, str], name: str) -> float | None:
    """What is stated under a name; None where nothing is, or no number."""
    try:
        return float(stated[name])
    except (KeyError, ValueError):
        return None


def um_per_unit(unit: object) -> float | None:
    """Micrometres of a unit of length in a usual spelling; None of any other."""
    name = str(unit).strip().lower()
    return _UM_PER_UNIT.get(name, _UM_PER_UNIT.get(name.removesuffix("s")))


def first_plausible(candidates: Iterable[PixelSize]) -> PixelSize | None:
    """The most trusted statement that a slide can have, or None."""
    return next((candidate for candidate in candidates if candidate.plausible), None)


def from_user(mpp: float) -> PixelSize:
    """A user's statement, checked.

    Raises
    ------
    PixelSizeError
        The number is outside `PLAUSIBLE_MPP`.
    """
    stated = PixelSize((float(mpp), float(mpp)), USER)
    if not stated.plausible:
        low, high = PLAUSIBLE_MPP
        raise PixelSizeError(
            f"A pixel size of {mpp:g} um/px was stated, but a slide has {low:g} to {high:g} um/px. "
            "State micrometres per pixel (a 20x scan has about 0.5, a 40x scan about 0.25)."
        )
    return stated


def guess_mpp(properties: Mapping[str, str]) -> float | None:
    """Usual um/px of the objective that the file names: 10 / power (40x: 0.25), or None.

    Only ever a suggestion to the user: slides called 20x have been found to be 22.6x.
    """
    for key in OBJECTIVE_KEYS:
        power = stated_number(properties, key)
        if power is not None and 1 <= power <= 200:
            return 10.0 / power
    return None


def doubts(known: PixelSize | None, properties: Mapping[str, str]) -> tuple[str, ...]:
    """Warnings that a pixel size contradicts itself or the objective that the file names.

    Parameters
    ----------
    known : PixelSize or None
        The one that is believed.
    properties : mapping of str to str
        What the file says about itself.
    """
    if known is None:
        return ()
    found = []
    unequal = max(known.mpp) / min(known.mpp)
    if unequal > _MOST_UNEQUAL:
        found.append(
            f"pixels are taken for {known}, {unequal:.3g} times as long one way as the other, which "
            f"scanners do not make: {MAKE_SURE}"
        )
    # MIRAX names its lens, behind which an adapter enlarges: 20x with 0.24 um/px.
    usual = None if properties.get("openslide.vendor") == "mirax" else guess_mpp(properties)
    side = math.sqrt(math.prod(known.mpp))
    if usual is not None and max(side / usual, usual / side) > _MOST_OFF_OBJECTIVE:
        found.append(
            f"the pixel size {known} does not go with the objective that the file names, {10 / usual:g}x, which "
            f"has about {usual:.3g} um/px: {MAKE_SURE}"
        )
    return tuple(found)


def missing_message(name: str, found: Iterable[PixelSize], guess: float | None) -> str:
    """What to tell a user whose slide has no usable pixel size."""
    rejected = "; ".join(str(candidate) for candidate in found)
    low, high = PLAUSIBLE_MPP
    reason = (
        f"the file states {rejected}, outside the {low:g} to {high:g} um/px of slides"
        if rejected
        else "the file states none"
    )
    hint = (
        f" Its objective suggests about {guess:.3g} um/px; check before using it." if guess else ""
    )
    return (
        f"'{name}' has no usable pixel size: {reason}. State the micrometres per pixel: "
        f"--mpp on the command line (--ihc-mpp of an IHC), the pixel size field of the panel Grade HER2, "
        f"or open_slide(path, mpp=...).{hint}"
    )
