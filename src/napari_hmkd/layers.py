"""Layer tuples (data, keyword arguments, type) for napari, made without napari."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_hmkd.map_modes import GRADE_LIMITS, MapMode, grade_colormap, tile_map
from napari_hmkd.palette import HATCH
from napari_hmkd.slide import Slide, TissueMask, pyramid

if TYPE_CHECKING:  # opening a slide must not wait for torch to load
    from napari_hmkd.grading import SlideGrading

LayerData = tuple[Any, dict[str, Any], str]

GRADING = "grading"
_CLEAR = (0.0, 0.0, 0.0, 0.0)
_HATCHING = (_CLEAR, (0.0, 0.0, 0.0, 1.0))
_NOT_READABLE = (0.25, 0.25, 0.25, 1.0)
_TISSUE = "#00b050"


def slide_layer(slide: Slide) -> LayerData:
    """A slide as a multiscale image in um; in pixels where its pixel size is not known.

    The `Slide` travels in `metadata["napari_hmkd"]["slide"]`, open: it closes with the last
    reference to it.
    """
    unit = "micrometer" if slide.mpp else "pixel"
    kwargs = {
        "name": slide.name,
        "multiscale": True,
        "rgb": True,
        "scale": slide.mpp or (1.0, 1.0),
        "units": (unit, unit),
        # napari's own would keep what is drawn, up to a quarter of the memory, and parts drawn as unreadable.
        "cache": False,
        "metadata": {"napari_hmkd": {"slide": slide}},
    }
    return pyramid(slide), kwargs, "image"


def tissue_layer(slide: Slide, tissue: TissueMask) -> LayerData:
    """A slide's tissue mask as labels to paint in, at true scale: 0 is none, any other is tissue.

    The data are a copy, uint8 (height, width); the mask itself travels in
    `metadata["napari_hmkd"]["tissue"]`, and in `["tissue_of"]` the slide's path.
    """
    kwargs = {
        "name": f"tissue ({slide.name})",
        "colormap": {None: _TISSUE, 0: "transparent", 1: _TISSUE},
        "opacity": 0.7,
        **placed(tissue.downsample, slide.require_mpp()),
        "metadata": {"napari_hmkd": {"tissue": tissue, "tissue_of": slide.path}},
    }
    return tissue.mask.astype(np.uint8), kwargs, "labels"


def heatmap_layers(grading: SlideGrading, mode: MapMode = MapMode.EXPECTED) -> list[LayerData]:
    """One kind of map of the moment, undecided tiles hatched over it, and unreadable ones.

    A model without prediction sets has no hatching, and the last layer is there once a tile could not
    be read. Draw a later state by setting `layer.data` to the data of a later call, and another mode by
    setting scale, translate, colormap and contrast limits, too.
    """
    plan, heatmap = grading.plan, grading.heatmap
    step_px, mpp = plan.grid.step_px, plan.grid.slide_mpp
    (_, kwargs, kind), *unreadable = grade_layers(
        heatmap.expected_grade,
        heatmap.unreadable,
        plan.slide.name,
        step_px=step_px,
        mpp=mpp,
        about={
            "model": plan.card.name,
            "notice": plan.card.notice,
            "result_of": plan.slide.path,
        },
    )
    shown = tile_map(heatmap, mode)
    look = {
        **clear_where_unknown(shown.colormap, shown.limits),
        **placed(np.divide(step_px, shown.cells), mpp),
    }
    layers: list[LayerData] = [(shown.values, kwargs | look, kind)]
    if (undecided := heatmap.undecided) is not None:
        hatched = {
            **kwargs,
            "name": f"undecided ({plan.slide.name})",
            "colormap": {"name": "hatching", "colors": _HATCHING},
            "contrast_limits": (0.0, 1.0),
            **placed(np.divide(step_px, len(HATCH)), mpp),
        }
        layers.append((np.kron(undecided.astype(np.uint8), HATCH), hatched, "image"))
    return layers + unreadable


def grade_layers(
    expected_grade: np.ndarray,
    unreadable: np.ndarray,
    slide_name: str,
    *,
    step_px: tuple[float, float],
    mpp: tuple[float, float],
    about: Mapping[str, object],
) -> list[LayerData]:
    """The expected grade as one pixel per square, and the unreadable ones where there are any.

    Parameters
    ----------
    expected_grade : numpy.ndarray
        float32 (rows, columns), in [0, 3]; NaN (transparent) where there is nothing to show.
    unreadable : numpy.ndarray
        bool (rows, columns).
    slide_name : str
        For the layers' names.
    step_px : tuple of float
        Height and width of a square in level-0 px.
    mpp : tuple of float
        The slide's pixel size (y, x), um/px.
    about : mapping
        What `metadata["napari_hmkd"]` is to hold beside its `kind`, the model's notice above all.
    """
    common = {
        **placed(step_px, mpp),
        "metadata": {"napari_hmkd": {"kind": GRADING, **about}},
    }
    grades = {
        "name": f"HER2 grade ({slide_name})",
        **clear_where_unknown(grade_colormap(), GRADE_LIMITS),
        "opacity": 0.5,
        **common,
    }
    layers: list[LayerData] = [(expected_grade, grades, "image")]
    if not unreadable.any():
        return layers
    look = {
        "name": f"not readable ({slide_name})",
        "colormap": {"name": "not readable", "colors": [_CLEAR, _NOT_READABLE]},
        "contrast_limits": (0.0, 1.0),
        "opacity": 0.8,
        **common,
    }
    return [*layers, (unreadable.astype(np.uint8), look, "image")]


def clear_where_unknown(
    colours: dict[str, Any] | str, limits: tuple[float, float]
) -> dict[str, object]:
    """Colormap and contrast limits of an image whose unknown values, NaN, are to be seen through.

    Graphics drivers are free to draw NaN as they like, and some draw it as the least number (Mesa 26; on
    Windows, napari's issue 8056): all glass would have the colour of grade 0. So what lies at the lower
    limit has no colour, and the limit lies a thousandth below the least number that can be.

    Parameters
    ----------
    colours : dict or str
        Name and colours, or the name of one of matplotlib's colormaps.
    limits : tuple of float
        The least and the greatest number that can be.
    """
    low, high = limits
    if isinstance(colours, str):
        import matplotlib  # loaded here: opening a slide must not wait for it

        colours = {
            "name": f"{colours}, clear below",  # a name of its own: napari has the other one
            "colors": matplotlib.colormaps[colours](np.linspace(0, 1, 256)),
        }
    return {
        "colormap": {**colours, "low_color": _CLEAR},
        "contrast_limits": (low - (high - low) / 1000, high),
    }


def placed(
    step_px: npt.ArrayLike, mpp: npt.ArrayLike, origin_px: npt.ArrayLike = (0, 0)
) -> dict[str, object]:
    """Scale and translate, in um, of an image of pixels of `step_px` level-0 px from `origin_px` on; all (y, x).

    napari puts the middle of pixel 0 of a layer at its translate, and so the middle of the
    slide's first pixel at 0: hence half a step less half a level-0 pixel.
    """
    step, origin, um = (np.asarray(each, float) for each in (step_px, origin_px, mpp))
    return {
        "scale": tuple((step * um).tolist()),
        "translate": tuple(((origin + (step - 1) / 2) * um).tolist()),
        "units": ("micrometer", "micrometer"),
    }
