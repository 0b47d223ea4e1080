"""What was predicted of a slide, in a panel and over the slide: numbers, attention, patches."""

from __future__ import annotations

import napari.viewer
from magicgui.widgets import ComboBox, Container, Label
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_hmkd.attention_layers import bag_layer, tile_layer
from napari_hmkd.biomarkers.prediction import Prediction
from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.widgets.biomarker_gallery import PatchGallery
from napari_hmkd.widgets.biomarker_numbers import NumbersView
from napari_hmkd.widgets.biomarker_run import BiomarkerRun
from napari_hmkd.widgets.biomarker_words import LEGEND, MEANING, numbers_html
from napari_hmkd.widgets.blinding import HIDDEN, blinding
from napari_hmkd.widgets.drawn_layers import DrawnLayers
from napari_hmkd.widgets.notice import show_notice, wrap
from napari_hmkd.widgets.viewing import go_to

_ATTENTION, _PATCH = "attention", "patch"


class BiomarkerResults:
    """Shows the result of a run, as long as its slide's results may be seen.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    run : BiomarkerRun

    Attributes
    ----------
    meaning : Label
        What the numbers are not; always there.
    numbers : NumbersView
    target : ComboBox
        Whose attention and patches are shown; hidden, as the legend is, where there are none.
    legend : Label
        Of the attention's colours.
    gallery : PatchGallery
    fields : list of magicgui widgets
        Those to choose in.
    panel : QWidget
        All of them, one below the other.
    """

    def __init__(self, viewer: napari.viewer.Viewer, run: BiomarkerRun) -> None:
        self._viewer, self._run = viewer, run
        self._drawn = DrawnLayers(viewer, (_ATTENTION, _PATCH))
        self.meaning = Label(value=MEANING)
        self.numbers = NumbersView()
        self.target = ComboBox(label="Attention for", choices=self._targets)
        self.legend = Label(value=LEGEND, visible=False)
        self.gallery = PatchGallery()
        for label in (self.meaning, self.legend):
            wrap(label)
        self._choice = Container(widgets=[self.target], visible=False)
        self.fields = [self._choice]
        self._choice.margins = (0, 0, 0, 0)
        self.panel = QWidget()
        below = QVBoxLayout(self.panel)
        below.setContentsMargins(0, 0, 0, 0)
        below.addWidget(self.meaning.native)
        below.addWidget(self.numbers)
        for field in (self._choice, self.legend):
            below.addWidget(field.native)
        below.addWidget(self.gallery, 1)
        below.addStretch()
        self.target.changed.connect(self._on_target_chosen)
        self.gallery.chosen.connect(self.go_to)
        run.forgotten.connect(self._on_forgotten)

    @property
    def shown(self) -> SlideBiomarkers | None:
        """The run's result, None where it must not be seen."""
        result = self._run.result
        hidden = result is None or blinding.hides(result.extraction.plan.slide.path)
        return None if hidden else result

    def show(self) -> None:
        """Show what there is, or hide it."""
        result = self.shown
        if result is not None:
            name = result.extraction.plan.slide.name
            self.numbers.show_html(numbers_html(name, result.predictions, result.answered_by))
            show_notice(self._viewer, result.notice)
        else:
            self.numbers.show_html("" if self._run.result is None else HIDDEN)
        for field in (self._choice, self.legend):
            field.visible = result is not None
        self.target.reset_choices()
        self._on_target_chosen()

    def select(self) -> None:
        """Make the attention the active layer, whose numbers are in the status bar."""
        if (layer := self._drawn.get(_ATTENTION)) in self._viewer.layers:
            self._viewer.layers.selection.active = layer

    def go_to(self, tile: tuple[int, int]) -> None:
        """Bring a patch to the middle of the view, and outline it."""
        result, layer = self.shown, self._run.slide_layer
        if result is not None and layer is not None:
            grid = result.extraction.plan.grid
            go_to(self._viewer, layer, grid.centers(tile)[0], grid.tile_um)
            self._drawn.draw(_PATCH, tile_layer(grid, tile, _about(result)), layer)

    def _targets(self, _widget: object = None) -> list[str]:
        result = self.shown
        return [] if result is None else [one.target.name for one in result.predictions]

    def _prediction(self) -> Prediction | None:
        """The one of the chosen target; of the first while they are hidden."""
        result = self._run.result
        if result is None:
            return None
        by_name = {one.target.name: one for one in result.predictions}
        return by_name.get(self.target.value, result.predictions[0])

    def _on_target_chosen(self, _value: object = None) -> None:
        result, layer, prediction = self._run.result, self._run.slide_layer, self._prediction()
        if result is None or layer is None or prediction is None:
            self.gallery.show_patches(None)
            return
        name = prediction.target.name
        self.gallery.show_patches(None if self.shown is None else self._run.patches.get(name))
        grid, attention = result.extraction.plan.grid, result.attention_map(prediction)
        self._drawn.draw(_ATTENTION, bag_layer(attention, name, grid, _about(result)), layer)

    def _on_forgotten(self) -> None:
        self._drawn.remove(_ATTENTION, _PATCH)
        self.show()


def _about(result: SlideBiomarkers) -> dict[str, object]:
    """What each layer says of itself."""
    return {
        "model": result.model.card.name,
        "answered_by": result.answered_by,
        "notice": result.notice,
        "result_of": result.extraction.plan.slide.path,
    }
