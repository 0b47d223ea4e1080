"""What two stains of a section have in common: where nuclei are dense, as texture of the tissue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from skimage.transform import downscale_local_mean, resize

from napari_hmkd.errors import AlignmentError
from napari_hmkd.slide import Slide
from napari_hmkd.slide.contents.density import glass_colour, optical_density
from napari_hmkd.slide.contents.tissue import mask_overview, tissue_of
from napari_hmkd.slide.overview import fitted_size, read_overview

RED = 0
"""The channel of haematoxylin, which absorbs it ten times as strongly as eosin does, and twice as DAB."""

SURROUNDINGS_PX = 24  # of the canvas: what is denser over a wider area is no texture
_FEWEST_PX = 384  # of a slide's longer side


@dataclass(frozen=True, eq=False)
class Canvas:
    """Where textures are compared: square pixels over positions of the H&E.

    Attributes
    ----------
    origin_um : numpy.ndarray
        Top left corner, (2,).
    shape : tuple of int
        Height and width in pixels.
    mpp : float
    """

    origin_um: np.ndarray
    shape: tuple[int, int]
    mpp: float

    @classmethod
    def around(cls, box_um: np.ndarray, mpp: float, rim_px: int = 0) -> Canvas:
        """Over a box, (2, 2) of its top left and bottom right corner, and `rim_px` about it."""
        height, width = np.ceil((box_um[1] - box_um[0]) / mpp).astype(int).tolist()
        return cls(box_um[0] - rim_px * mpp, (height + 2 * rim_px, width + 2 * rim_px), mpp)


@dataclass(frozen=True, eq=False)
class Texture:
    """How much denser tissue is than its surroundings.

    Attributes
    ----------
    planes : numpy.ndarray
        The difference of density and the share of tissue, float32 (2, height, width), 0 on glass.
    mpp : numpy.ndarray
        Pixel size, um/px (2,).
    """

    planes: np.ndarray
    mpp: np.ndarray

    def on(self, canvas: Canvas, affine: np.ndarray) -> np.ndarray:
        """The planes on a canvas, float32 (2, height, width).

        Parameters
        ----------
        canvas : Canvas
        affine : numpy.ndarray
            From a position on the canvas to one on the slide, um, (3, 3).
        """
        linear = affine[:2, :2] * (canvas.mpp / self.mpp)[:, None]
        first_um = affine[:2, :2] @ (canvas.origin_um + canvas.mpp / 2) + affine[:2, 2]
        offset = first_um / self.mpp - 0.5
        return np.stack(
            [
                ndimage.affine_transform(plane, linear, offset, canvas.shape, order=1)
                for plane in self.planes
            ]
        )


@dataclass(frozen=True, eq=False)
class Picture:
    """A slide's tissue in few pixels.

    Attributes
    ----------
    density : numpy.ndarray
        Optical density of red light, float32 (height, width), 0 on glass. Haematoxylin absorbs red ten
        times as strongly as eosin does. (Unmixed by `skimage.color.rgb2hed` it fits no better on drawn
        slides, and on BCI's pale counterstains the noise of unmixing hides it.)
    tissue : numpy.ndarray
        bool (height, width).
    mpp : numpy.ndarray
        Pixel size, um/px (2,).
    """

    density: np.ndarray
    tissue: np.ndarray
    mpp: np.ndarray

    @cached_property
    def box_um(self) -> np.ndarray:
        """Top left and bottom right corner of the tissue, (2, 2)."""
        (rows, columns) = ndimage.find_objects(self.tissue.astype(np.uint8))[0]
        return np.array([(rows.start, columns.start), (rows.stop, columns.stop)]) * self.mpp

    @cached_property
    def extent_um(self) -> float:
        """The longer side of that box."""
        return float(np.ptp(self.box_um, axis=0).max())

    def texture(self, mpp: float) -> Texture:
        """For canvases of that pixel size: no detail is much finer than theirs."""
        factor = max(1, int(mpp / self.mpp.max() + 0.01))
        share = downscale_local_mean(self.tissue.astype(np.float32), (factor, factor))
        density = downscale_local_mean(self.density * self.tissue, (factor, factor))
        own = factor * self.mpp
        window = np.maximum(3, np.round(SURROUNDINGS_PX * mpp / own)).astype(int)
        return Texture(np.stack([texture_of(density, share, tuple(window)), share]), own)


def texture_of(density: np.ndarray, share: np.ndarray, window: int | tuple[int, ...]) -> np.ndarray:
    """How much denser pixels are than the mean about them, float32 (height, width).

    Parameters
    ----------
    density : numpy.ndarray
        Density times `share`, (height, width).
    share : numpy.ndarray
        What of each pixel counts, 0 to 1; where nothing does, the texture is 0.
    window : int or tuple of int
        Sides of the rectangle that is about a pixel.
    """
    about = np.maximum(ndimage.uniform_filter(share, window), 1e-3)
    mean = ndimage.uniform_filter(density, window) / about
    return np.asarray(density - share * mean, np.float32)


def read_picture(slide: Slide) -> Picture:
    """Read a slide for its alignment, at the pixel size of its tissue mask or, if it is small, finer.

    Raises
    ------
    AlignmentError
        There is no tissue on it.
    PixelSizeError
        Its pixel size is unknown.
    SlideReadError
        Nothing of it can be read.
    """
    overview = mask_overview(slide)
    tissue = tissue_of(slide, overview).mask & overview.readable
    if not tissue.any():
        raise AlignmentError(
            f"asked to align '{slide.name}', but no tissue was found on it: choose another slide, or align by "
            "landmarks"
        )
    if max(tissue.shape) < _FEWEST_PX:
        overview = read_overview(slide, fitted_size(slide.size, _FEWEST_PX))
        tissue = resize(tissue, overview.readable.shape, order=0) & overview.readable
    mpp = np.multiply(slide.require_mpp(), overview.downsample)
    glass = glass_colour(overview.pixels, float(mpp.mean()))
    return Picture(optical_density(overview.pixels, glass)[RED], tissue, mpp)
