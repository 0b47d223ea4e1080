"""The pixel size of a slide whose file has none, as a panel asks for it."""

from __future__ import annotations

from contextlib import suppress

import napari.viewer
from magicgui.widgets import FloatSpinBox
from psygnal import Signal

from napari_hmkd.errors import HmkdError, SlideError
from napari_hmkd.slide import Slide
from napari_hmkd.widgets.decimal_point import take_either_point
from napari_hmkd.widgets.slide_choice import NO_SLIDE, SlideChoice
from napari_hmkd.widgets.tissue_run import TissueRun
from napari_hmkd.widgets.viewing import state_pixel_size


class PixelSizeField(FloatSpinBox):
    """Asks for the pixel size of the chosen slide where its file has none; hidden for any other slide.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    slide : SlideChoice
    tissue : TissueRun
        Its layer is brought to the pixel size that is stated.

    Signals
    -------
    stated()
        The chosen slide has got a pixel size: the user has left the field, or asked for what needs it.
    """

    stated = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, slide: SlideChoice, tissue: TissueRun) -> None:
        super().__init__(label="Pixel size (um/px)", value=0, min=0, max=20, step=0.0001)
        take_either_point(self.native)
        self._viewer, self._slide, self._tissue = viewer, slide, tissue
        self._shown = self.value
        self.native.editingFinished.connect(self._on_left)

    @property
    def asked(self) -> bool:
        """Whether the chosen slide's file has no pixel size, so that the user states one."""
        slide = self._slide.chosen
        return slide is not None and slide.mpp_source in (None, "user")

    @property
    def about(self) -> str:
        """What a panel says of the chosen slide's pixel size, and what there is to know about its file."""
        slide = self._slide.chosen
        if slide is None:
            return NO_SLIDE
        if slide.mpp is not None:
            size = f"{slide.mpp[0]:.4g} um/px, from {slide.mpp_source}"
            return "; ".join((size, *slide.warnings))
        guess = slide.guess_mpp()
        likely = "" if guess is None else f" Its objective suggests about {guess:.3g}."
        return f"{slide.name} has no pixel size: state it above.{likely}"

    def turn_to_chosen(self) -> None:
        """Show the pixel size of the slide that is chosen now."""
        slide = self._slide.chosen
        self.visible = self.asked
        # Another slide's pixel size must not be taken for this one's.
        self.value = slide.mpp[0] if slide is not None and slide.mpp is not None else 0
        self._shown = self.value  # with as many digits as the field has

    def require_slide(self) -> Slide:
        """The chosen slide, with the pixel size that the user states for it, here or in another panel.

        Raises
        ------
        SlideError
            If no slide is chosen.
        PixelSizeError
            If the size is implausible.
        """
        slide = self._slide.chosen
        if slide is None:
            raise SlideError(NO_SLIDE)
        if self.value == self._shown:  # what was stated last counts, wherever
            self.turn_to_chosen()
        if self.asked and (slide.mpp is None or self.value != self._shown):
            slide = state_pixel_size(self._viewer, self._slide.value, self.value)
            self._tissue.follow_pixel_size(self._slide.value)
            self.stated.emit()
        return slide

    def _on_left(self) -> None:
        with suppress(HmkdError):  # what is wrong is said once the slide is needed
            self.require_slide()
