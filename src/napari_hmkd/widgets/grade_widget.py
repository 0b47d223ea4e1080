"""The dock widget behind "Grade HER2"."""

from __future__ import annotations

from pathlib import Path

import napari.layers
import napari.viewer
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSlider,
    FloatSpinBox,
    Label,
    ProgressBar,
    PushButton,
)
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_hmkd.device import available_devices
from napari_hmkd.errors import HmkdError, ModelError, SlideError
from napari_hmkd.grading import SlideGrading
from napari_hmkd.map_modes import MapMode
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import INVASIVE_TUMOUR
from napari_hmkd.slide import Slide, TissueMask
from napari_hmkd.widgets.async_offer import AsyncOffer
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.finished_models import finished_students
from napari_hmkd.widgets.following import Following
from napari_hmkd.widgets.grade_run import GradeRequest, GradeRun
from napari_hmkd.widgets.keys import bind_keys
from napari_hmkd.widgets.notice import BY_AREA, legend_html
from napari_hmkd.widgets.preferences import remember
from napari_hmkd.widgets.question import Question
from napari_hmkd.widgets.region_layers import add_region_layer, marked_regions
from napari_hmkd.widgets.saving import SaveRun
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.tissue_run import TissueRun
from napari_hmkd.widgets.viewing import state_pixel_size, visible_region

_DEMO = "demo student (procedural tissue)"
_FROM_FILE = "from a file ..."
_NO_SLIDE = "Open a slide first: drop its file on the window, or File > Open Sample."


class GradeWidget(Container):
    """Choose a slide, a model and a device; press the button; watch the heatmap fill.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer
        self.run = GradeRun(napari_viewer)
        self.tissue = TissueRun(napari_viewer)
        self.saving = SaveRun()
        self._failure = ""
        self._insisted: Slide | None = None
        self._following = Following(napari_viewer, self.run, lambda: not self._busy)
        self.slide = SlideChoice(napari_viewer, label="H&E slide")
        self.mpp = FloatSpinBox(label="Pixel size (um/px)", value=0, min=0, max=20, step=0.0001)
        self.model = ComboBox(label="Model", choices=_model_choices)
        self.model_file = FileEdit(
            label="Student file", mode="r", filter="*.safetensors", nullable=True
        )
        self.device = ComboBox(label="Device", choices=["auto", *available_devices()])
        self.find_tissue = PushButton(text="Find tissue")
        self.mark = PushButton(text="Mark a region")
        self.follow = CheckBox(text="Only what is in view, wherever I look")
        self.only_regions = CheckBox(text="Only inside marked regions")
        self.start = PushButton(text="Grade HER2")
        self.stop = PushButton(text="Stop", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0, label=" ")
        self.status = Label(value="")
        self.question = Question("Grade all the same", "Leave it")
        self.legend = Label(label="Grade", value="")
        self.mode = ComboBox(label="Show", choices=[str(mode) for mode in MapMode])
        self.opacity = FloatSlider(label="Opacity", value=0.5, min=0, max=1)
        self.save = PushButton(text="Save results ...", enabled=False)
        self.load_async = AsyncOffer()
        self.notice = Label(value=BY_AREA)
        super().__init__(
            widgets=[
                self.slide, self.mpp, self.model, self.model_file, self.device,
                Container(widgets=[self.find_tissue, self.mark], layout="horizontal", labels=False),
                self.follow, self.only_regions,
                Container(widgets=[self.start, self.stop], layout="horizontal", labels=False),
                self.progress, self.status, self.question, self.legend,
                self.mode, self.opacity, self.save,
                self.load_async, self.notice,
            ]
        )  # fmt: skip
        for label in (self.status, self.notice):
            label.native.setWordWrap(True)
        self.find_tissue.tooltip = (
            "As a layer to paint and erase in; grading obeys it. Pressed again, it is found anew."
        )
        self._connect()
        self._on_slide_chosen()
        self._on_model_chosen()
        remember(
            "grade", device=self.device, mode=self.mode, opacity=self.opacity, follow=self.follow
        )

    def _connect(self) -> None:
        self.slide.changed.connect(self._on_slide_chosen)
        self.model.changed.connect(self._on_model_chosen)
        finished_students.changed.connect(self.model.reset_choices)
        blinding.changed.connect(self._on_blinding)
        self.find_tissue.clicked.connect(self.show_tissue)
        self.mark.clicked.connect(self.mark_region)
        self.start.clicked.connect(self.grade)
        self.follow.changed.connect(self._on_follow_chosen)
        for field in (self.slide, self.mpp, self.model, self.model_file, self.device):
            field.changed.connect(self._follow_no_more)
        self._following.resumed.connect(self._on_resumed)
        self.stop.clicked.connect(self._on_stop)
        self.question.answered.connect(self._on_answered)
        self.opacity.changed.connect(self._set_opacity)
        self.mode.changed.connect(self._on_mode_chosen)
        self.save.clicked.connect(self._on_save)
        self.run.planned.connect(self._on_planned)
        self.run.doubted.connect(self._on_doubted)
        self.run.progressed.connect(self._on_progress)
        self.run.ended.connect(self._on_ended)
        self.tissue.found.connect(self._on_tissue_found)
        self.saving.saved.connect(lambda folder: self._say(f"Saved to {folder}"))
        for run in (self.run, self.tissue, self.saving):
            run.failed.connect(self._on_failed)
            run.ended.connect(self._set_enabled)
        self.native.destroyed.connect(self._on_destroyed)
        bind_keys(
            self._viewer,
            {
                "Control-Alt-G": self.grade,
                "Control-Alt-X": self._on_stop,
                "Control-Alt-F": self.show_tissue,
                "Control-Alt-R": self.mark_region,
                "Control-Alt-M": self.show_next,
            },
        )

    def show_next(self) -> None:
        """Have the heatmap show the next of its numbers."""
        modes = list(MapMode)
        self.mode.value = str(modes[(modes.index(self.run.mode) + 1) % len(modes)])

    def grade(self) -> None:
        """Start grading the chosen slide, as the button does; a run under way is left alone."""
        layer = self.slide.value
        if self._busy:
            return
        try:
            slide = self._require_slide()
            model = self._model_name()
            regions = marked_regions(self._viewer, layer)
        except HmkdError as error:
            self._say(str(error))
            return
        settings = GradeSettings(
            device=self.device.value,
            only_regions=self.only_regions.value,
            force=slide is self._insisted,
        )
        self._failure, self._following.on = "", self.follow.value
        self.question.hide()
        self._say("Opening the model, finding the tissue ...")
        request = GradeRequest(slide, model, settings, self.tissue.mask_of(slide), regions)
        view = visible_region(self._viewer, layer)
        self.run.start(layer, request, view, self.follow.value)
        self._set_enabled()

    def show_tissue(self) -> None:
        """Find the tissue of the chosen slide and show it as a layer, as the button does."""
        if self._busy:
            return
        try:
            self._require_slide()
        except HmkdError as error:
            self._say(str(error))
            return
        self._say("Finding the tissue ...")
        self.tissue.find(self.slide.value)
        self._set_enabled()

    def mark_region(self) -> None:
        """Add a layer to draw a region in, as the button does."""
        if self.slide.value is None:
            self._say(_NO_SLIDE)
            return
        add_region_layer(self._viewer, self.slide.value)
        self._say(
            "Draw round the region; a double click ends the polygon. The layer's name is the region's: for "
            f"one called '{INVASIVE_TUMOUR}' a grade by area is stated."
        )

    @property
    def asks_for_pixel_size(self) -> bool:
        """Whether the chosen slide's file has no pixel size, so that the user states one."""
        slide = self.slide.chosen
        return slide is not None and slide.mpp_source in (None, "user")

    def _require_slide(self) -> Slide:
        """The chosen slide, with the pixel size that the user states for it."""
        slide = self.slide.chosen
        if slide is None:
            raise SlideError(_NO_SLIDE)
        if self.asks_for_pixel_size and slide.mpp != (self.mpp.value, self.mpp.value):
            slide = state_pixel_size(self._viewer, self.slide.value, self.mpp.value)
            self.tissue.follow_pixel_size(slide)
        return slide

    def _model_name(self) -> str:
        if self.model.value == _DEMO:
            return "demo"
        if self.model.value != _FROM_FILE:
            return str(self.model.value)
        if self.model_file.value is None:
            raise ModelError("grading with a model from a file was asked for: choose the file")
        return str(self.model_file.value)

    def _on_slide_chosen(self, _value: object = None) -> None:
        slide = self.slide.chosen
        self.mpp.visible = self.asks_for_pixel_size
        # Another slide's pixel size must not be taken for this one's.
        self.mpp.value = slide.mpp[0] if slide is not None and slide.mpp is not None else 0
        if self._busy:
            return
        self.question.hide()
        if slide is None:
            self._say(_NO_SLIDE)
        elif slide.mpp is None:
            guess = slide.guess_mpp()
            likely = "" if guess is None else f" Its objective suggests about {guess:.3g}."
            self._say(f"{slide.name} has no pixel size: state it above.{likely}")
        else:
            self._say(f"{slide.mpp[0]:.4g} um/px, from {slide.mpp_source}")

    def _on_model_chosen(self, _value: object = None) -> None:
        self.model_file.visible = self.model.value == _FROM_FILE

    def _on_tissue_found(self, tissue: TissueMask) -> None:
        area_mm2 = tissue.mask.sum() * tissue.mpp[0] * tissue.mpp[1] / 1e6
        self._say(f"{area_mm2:.1f} mm2 of tissue: paint and erase in its layer, then grade.")

    def _on_planned(self, grading: SlideGrading, slide_layer: napari.layers.Image) -> None:
        plan = grading.plan
        self._write_legend()
        self.notice.value = "\n".join([plan.card.notice, *plan.warnings, BY_AREA])
        self._set_opacity(self.opacity.value)
        if plan.tissue is not None and self.tissue.layer_of(plan.slide) is None:
            self.tissue.show(slide_layer, plan.tissue)

    def _on_follow_chosen(self, on: bool) -> None:
        """In the middle of a run it counts at once; otherwise with the next press of the button."""
        self._following.on = on and self.run.running and not self.run.stopping
        self._following.catch_up()
        self._set_enabled()

    def _on_resumed(self) -> None:
        self._failure = ""
        self._set_enabled()

    def _follow_no_more(self, _value: object = None) -> None:
        self._following.on = False
        self._set_enabled()

    def _on_mode_chosen(self, name: str) -> None:
        self.run.show(MapMode(name))
        self._write_legend()

    def _write_legend(self) -> None:
        if (grading := self.run.grading) is None:
            return
        if blinding.hides(grading.plan.slide.path):
            self.legend.value = "hidden until you have scored the slide"
        else:
            area_mm2 = grading.heatmap.summary().area_mm2
            names = grading.plan.card.class_names
            self.legend.value = legend_html(names, area_mm2, self.run.mode)

    def _on_doubted(self, reason: str) -> None:
        self._on_failed(reason)
        self.question.ask("Grade it all the same?")

    def _on_answered(self, yes: bool) -> None:
        if yes:
            self._insisted = self.slide.chosen
            self.grade()

    def _on_progress(self, tried: int, planned: int, tiles_per_second: float) -> None:
        self.progress.max, self.progress.value = planned, tried
        self._say(f"{tried} of {planned} tiles, {tiles_per_second:.1f} tiles/s")

    def _on_stop(self) -> None:
        self._follow_no_more()
        self._say("Stopping after this batch ..." if self.run.running else "Stopped.")
        self.run.stop()

    def _on_ended(self, complete: bool) -> None:
        grading = self.run.grading
        if grading is None:
            self.progress.value = 0
            if not self._failure:
                self._say("Stopped: the layer was removed.")
            return
        self._write_legend()
        tried = len(grading.plan.tiles) - len(grading.heatmap.remaining)
        failed = len(grading.heatmap.failed)
        unread = f", {failed} could not be read" if failed else ""
        if complete:
            before = f", {grading.resumed_tiles} graded before" if grading.resumed_tiles else ""
            self._say(f"Done: {tried} tiles in {grading.seconds:.0f} s{before}{unread}")
        elif self._following.on and not self._failure:
            # The view may have moved while the last tiles of the former one were computed.
            QTimer.singleShot(0, self._following.catch_up)
            self._say(
                f"What is in view is graded, {tried} of {len(grading.plan.tiles)} tiles{unread}. Move on, "
                "press Stop, or untick the box and press the button for the rest."
            )
        elif not self._failure:
            self._say(f"Stopped at {tried} of {len(grading.plan.tiles)} tiles{unread}")

    @property
    def _busy(self) -> bool:
        return self.run.running or self.tissue.running or self.saving.running

    def _set_enabled(self, _value: object = None) -> None:
        """One thing at a time: what is found, graded and saved must not change meanwhile."""
        fields = (self.slide, self.mpp, self.model, self.model_file, self.device)
        for field in (*fields, self.find_tissue, self.start):
            field.enabled = not self._busy
        self.stop.enabled = self.run.running or self._following.on
        grading = self.run.grading
        shown = grading is not None and not blinding.hides(grading.plan.slide.path)
        graded = grading is not None and bool(grading.heatmap.graded.any())
        self.save.enabled = shown and graded and not self._busy

    def _on_blinding(self) -> None:
        self._write_legend()
        self._set_enabled()

    def _set_opacity(self, value: float) -> None:
        if self.run.heatmap_layer is not None:
            self.run.heatmap_layer.opacity = value

    def _on_save(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self.native, "Folder for the results")
        if chosen:
            self.save_results(Path(chosen))

    def save_results(self, out: Path) -> None:
        """Write the files of `write_results` to `out` / the slide's name."""
        grading = self.run.grading
        if grading is None or self._busy:
            self._say("There is no finished or stopped grading to save.")
            return
        self.saving.start(grading, out / grading.plan.slide.name)
        self._set_enabled()

    def _on_failed(self, message: str) -> None:
        self._failure, self._following.on = message, False
        self._say(message)

    def _say(self, message: str) -> None:
        self.status.value = message

    def _on_destroyed(self, _widget: object = None) -> None:
        finished_students.changed.disconnect(self.model.reset_choices)
        blinding.changed.disconnect(self._on_blinding)
        self._following.close()
        for run in (self.tissue, self.saving, self.run):
            run.close()


def _model_choices(_widget: object) -> list[tuple[str, str | Path]]:
    """Labels and values: the demo, students trained in this session, a file."""
    return [(_DEMO, _DEMO), *finished_students.choices(), (_FROM_FILE, _FROM_FILE)]
