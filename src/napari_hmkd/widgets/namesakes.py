"""Word of saved results that are seen over a slide which has but the name of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari.layers import Layer
from napari.utils.notifications import show_warning

from napari_hmkd.errors import SlideError
from napari_hmkd.slide import Slide
from napari_hmkd.slide.backends.location import is_remote
from napari_hmkd.slide.fingerprint import fingerprint
from napari_hmkd.study.identity import SHOWN
from napari_hmkd.widgets.background import BackgroundRun
from napari_hmkd.widgets.saved_slide import may_be_of
from napari_hmkd.widgets.viewing import noted, slide_of


def tell_of_namesakes(layers: Sequence[Layer], new: Layer) -> None:
    """Warn where none of the open slides of their name can be that of saved results.

    By its size that is known at once. Slides of one size are told apart by their fingerprints, which are
    read in the background; not from an address, of which that would fetch megabytes.

    Parameters
    ----------
    layers : sequence of napari.layers.Layer
        All of a window.
    new : napari.layers.Layer
        One of them: a slide, or a layer of saved results; others are not looked at again.
    """
    slides = [slide for layer in layers if (slide := slide_of(layer)) is not None]
    for about in _results_in(layers):
        of_name = [slide for slide in slides if slide.name == about["slide_name"]]
        concerned = noted(new) is about or slide_of(new) in of_name
        if not concerned or not of_name:
            continue
        alike = [slide for slide in of_name if may_be_of(about, slide)]
        if not alike:
            show_warning(_of_another_size(about, of_name[0]))
        elif not any(is_remote(slide.path) for slide in alike):
            _Comparison(about, alike)


def _results_in(layers: Sequence[Layer]) -> list[Mapping[str, Any]]:
    """What the layers of saved results know: of each folder its lowest, the first that came."""
    told = [noted(layer) for layer in reversed(layers)]
    return list({about["folder"]: about for about in told if "folder" in about}.values())


def _of_another_size(about: Mapping[str, Any], slide: Slide) -> str:
    size, saved = slide.size, about["saved_slide"]
    return (
        f"{_of_another(about)}: that has {saved.height_px} x {saved.width_px} px, and the open one "
        f"{size.height} x {size.width} px."
    )


def _of_another(about: Mapping[str, Any]) -> str:
    return (
        f"The results in {about['folder']} are of another slide of the name {about['slide_name']}"
    )


class _Comparison(BackgroundRun):
    """Warns if none of some open slides has the fingerprint that results state.

    A slide that has none is told with the others; where none has one, there is nothing to compare.
    """

    def __init__(self, about: Mapping[str, Any], slides: Sequence[Slide]) -> None:
        super().__init__()
        self._about = about
        self._begin_once(
            f"comparing {about['slide_name']} with its results",
            lambda: [_compared(slide) for slide in slides],
        )

    def _on_step(self, found: list[str | SlideError]) -> None:
        wanted = self._about["saved_slide"].fingerprint
        known = [one for one in found if isinstance(one, str)]
        if known and wanted not in known:
            unknown = [f" Not compared: {one}" for one in found if isinstance(one, SlideError)]
            show_warning(
                f"{_of_another(self._about)}, as large as the open one: its fingerprint is "
                f"{wanted[:SHOWN]}, and that of the open one {known[0][:SHOWN]}.{''.join(unknown)}"
            )


def _compared(slide: Slide) -> str | SlideError:
    try:
        return fingerprint(slide)
    except SlideError as error:
        return error
