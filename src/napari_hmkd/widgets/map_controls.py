"""What the heatmap shows: fields to choose it, and the legend of its colours."""

from __future__ import annotations

from html import escape

from magicgui.widgets import ComboBox, FloatSlider, Label
from qtpy.QtCore import Qt

from napari_hmkd.map_modes import MapMode
from napari_hmkd.widgets.blinding import HIDDEN, blinding
from napari_hmkd.widgets.grade_run import GradeRun
from napari_hmkd.widgets.notice import legend_html, tell, wrap


class MapControls:
    """Fields about the heatmap of a run, to be laid out in a panel.

    Parameters
    ----------
    run : GradeRun

    Attributes
    ----------
    fields : list of magicgui widgets
        Legend, kind of map and opacity, in this order.
    """

    def __init__(self, run: GradeRun) -> None:
        self._run = run
        self.legend = Label(label="Grade", value="", visible=False)
        wrap(self.legend, Qt.TextFormat.RichText)
        self.mode = ComboBox(label="Show", choices=[str(mode) for mode in MapMode])
        self.opacity = FloatSlider(label="Opacity", value=0.5, min=0, max=1)
        self.fields = [self.legend, self.mode, self.opacity]
        self.mode.changed.connect(self._on_mode_chosen)
        self.opacity.changed.connect(run.fade)
        run.fade(self.opacity.value)
        run.repainted.connect(self.write_legend)
        run.forgotten.connect(self.write_legend)

    def show_next(self) -> None:
        """Have the heatmap show the next of its numbers."""
        modes = list(MapMode)
        self.mode.value = str(modes[(modes.index(self._run.mode) + 1) % len(modes)])

    def write_legend(self) -> None:
        """Say which slide was graded, what the colours mean and how much area each grade has by now."""
        if (grading := self._run.grading) is None:
            tell(self.legend, "")
            return
        slide = grading.plan.slide
        if blinding.hides(slide.path):
            tell(self.legend, HIDDEN)
        else:
            area_mm2 = grading.heatmap.summary().area_mm2
            names = grading.plan.card.class_names
            legend = legend_html(names, area_mm2, self._run.mode)
            tell(self.legend, f"{escape(slide.name)}<br>{legend}")

    def _on_mode_chosen(self, name: str) -> None:
        self._run.show(MapMode(name))
