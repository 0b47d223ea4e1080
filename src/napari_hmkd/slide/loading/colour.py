"""A scanner's colours brought to sRGB, which networks and screens expect."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_STEPS = 9
_LEAST_DIFFERENCE = 3  # of 255: less is how a profile rounds, and sRGB's many versions differ so
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC


@dataclass(frozen=True, slots=True, eq=False)
class ColourPath:
    """What becomes of a slide's colours.

    Attributes
    ----------
    description : str
        For people, and for every output.
    transform : ImageCms.ImageCmsTransform or None
        From the slide's colours to sRGB; None where they are taken as they are.
    warnings : tuple of str
        What a reader of results has to know.
    """

    description: str
    transform: ImageCms.ImageCmsTransform | None = None
    warnings: tuple[str, ...] = ()

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Uint8 (height, width, 3) in sRGB; the same array where nothing is to be done."""
        if self.transform is None:
            return pixels
        image = Image.fromarray(pixels)
        ImageCms.applyTransform(image, self.transform, inPlace=True)
        return np.array(image)


def colour_path(icc_profile: bytes | None) -> ColourPath:
    """How a slide with this ICC profile, or with none, is brought to sRGB."""
    if not icc_profile:
        return ColourPath("as stored: the file has no ICC profile")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        name = ImageCms.getProfileDescription(profile).strip()
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            _INTENT,
            ImageCms.Flags.NOCACHE,  # threads share it
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        problem = f"the file's ICC profile cannot be used ({error})"
        return ColourPath(f"as stored: {problem}", warnings=(f"{problem}: its colours may be off",))
    path = ColourPath(f"converted to sRGB from the file's ICC profile '{name}'", transform)
    cube = _colour_cube()
    if np.abs(path.apply(cube).astype(int) - cube).max() < _LEAST_DIFFERENCE:
        return ColourPath(f"as stored: the file's ICC profile '{name}' is sRGB")
    return path


def _colour_cube() -> np.ndarray:
    """Colours of the whole cube, uint8 (n, 1, 3)."""
    steps = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 1, 3)
