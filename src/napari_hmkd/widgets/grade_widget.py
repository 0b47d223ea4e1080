"""The dock widget behind "Grade HER2"."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import napari.layers
import napari.viewer
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
)
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_hmkd.errors import HmkdError
from napari_hmkd.grading import SlideGrading
from napari_hmkd.planning import GradeSettings
from napari_hmkd.regions import INVASIVE_TUMOUR, MarkedRegion
from napari_hmkd.result_files import SUMMARY_FILE
from napari_hmkd.slide import TissueMask
from napari_hmkd.widgets.async_offer import AsyncOffer
from napari_hmkd.widgets.blinding import HIDDEN, blinding
from napari_hmkd.widgets.closing import WhenClosed
from napari_hmkd.widgets.device_choice import device_choice
from napari_hmkd.widgets.field_names import name_fields
from napari_hmkd.widgets.following import Following
from napari_hmkd.widgets.grade_run import GradeRequest, GradeRun
from napari_hmkd.widgets.grade_words import (
    HEATMAP_REMOVED,
    NEVER_BEGAN,
    NOTHING_TO_SAVE,
    end_words,
    progress_words,
    saved_words,
)
from napari_hmkd.widgets.keyboard_focus import KeyboardKept
from napari_hmkd.widgets.keys import bind_keys
from napari_hmkd.widgets.look_ahead import LookAhead, make_ready_ahead
from napari_hmkd.widgets.map_controls import MapControls
from napari_hmkd.widgets.model_choice import ModelChoice
from napari_hmkd.widgets.notice import BY_AREA, wrap
from napari_hmkd.widgets.pixel_size import PixelSizeField
from napari_hmkd.widgets.preferences import Preferences
from napari_hmkd.widgets.question import DoubtQuestion
from napari_hmkd.widgets.region_fields import RegionFields
from napari_hmkd.widgets.region_layers import marked_regions, shapes_of_no_slide
from napari_hmkd.widgets.saved_slide import ResultFolder
from napari_hmkd.widgets.saving import SAVING, STILL_SAVING, OriginChoice, SaveRun, write_marked
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.slide_choice import SlideChoice
from napari_hmkd.widgets.tissue_run import TissueRun, same_tissue
from napari_hmkd.widgets.viewing import unwrapped, visible_region

_STRIDES = [("side by side", 1.0), ("half a side apart", 0.5), ("a quarter of a side apart", 0.25)]
_DRAWING_MS = 100


class GradeWidget(Container):
    """Choose a slide, a model and a device; press the button; watch the heatmap fill.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer = unwrapped(napari_viewer)
        self.run = GradeRun(napari_viewer)
        self.tissue = TissueRun(napari_viewer)
        self.saving = SaveRun()
        self._failure = ""
        # Whether regions and tissue of what is saved are not those of now.
        self._former = (False, False)
        self._following = Following(napari_viewer, self.run, lambda: not self._busy)
        self.slide = SlideChoice(napari_viewer, label="H&E slide")
        self.mpp = PixelSizeField(napari_viewer, self.slide, self.tissue)
        self.model = ModelChoice()
        self.device = device_choice()
        self.stride = ComboBox(label="Tiles", choices=_STRIDES)
        self.find_tissue = PushButton(
            text="Find tissue",
            tooltip="As a layer to paint and erase in; grading obeys it. Pressed again, it is found anew.",
        )
        purpose = f"for one called '{INVASIVE_TUMOUR}' a grade by area is stated"
        self.region = RegionFields(napari_viewer, self.slide, INVASIVE_TUMOUR, purpose)
        self.follow = CheckBox(text="Only what is in view, wherever I look")
        self.start = PushButton(text="Grade HER2")
        self.stop = PushButton(text="Stop", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0, label=" ")
        self.status = Label(value="")
        self.question = DoubtQuestion("Grade")
        self.map = MapControls(self.run)
        self.geojson_origin = OriginChoice()
        self.save = PushButton(text="Save results ...", enabled=False)
        self.load_async = AsyncOffer()
        self.notice = Label(value=BY_AREA)
        to_mark, to_run = (
            Container(widgets=buttons, layout="horizontal", labels=False)
            for buttons in ([self.find_tissue, self.region.mark], [self.start, self.stop])
        )
        super().__init__(
            widgets=[
                *self._asked, to_mark, self.follow, self.region.only, to_run,
                self.progress, self.status, self.question,
                *self.map.fields, self.geojson_origin, self.save, self.load_async, self.notice,
            ]
        )  # fmt: skip
        for label in (self.status, self.notice):
            wrap(label)
        scroll(self.native)
        name_fields(self)
        self._keyboard = KeyboardKept(self.native, self.stop.native)
        self._connect()
        self._on_slide_chosen()
        self.ahead = LookAhead(self.native, self.slide, self.tissue)
        self.ahead.began.connect(self._on_looked_ahead)
        self.mpp.stated.connect(self.ahead.look)
        self._preferences = Preferences(
            "grade", device=self.device, mode=self.map.mode, opacity=self.map.opacity,
            follow=self.follow, model=self.model.listed, student=self.model.file.line_edit,
        )  # fmt: skip

    def _connect(self) -> None:
        for signal in (self.slide.changed, self.mpp.stated):
            signal.connect(self._on_slide_chosen)
        blinding.changed.connect(self._on_blinding)
        self.find_tissue.clicked.connect(self.show_tissue)
        self.region.said.connect(self._say)
        self.start.clicked.connect(self.grade)
        self.follow.changed.connect(self._on_follow_chosen)
        for field in self._asked:
            field.changed.connect(self._on_asked_other)
        self._following.resumed.connect(self._on_resumed)
        self.stop.clicked.connect(self.end)
        self.question.insisted.connect(self.grade)
        self.save.clicked.connect(self.choose_folder_and_save)
        self.run.planned.connect(self._on_planned)
        self.run.doubted.connect(self._on_doubted)
        self.run.painted.connect(self._on_painted)
        self.run.progressed.connect(self._on_progress)
        self.run.forgotten.connect(self._on_forgotten)
        self.run.ended.connect(self._on_ended)
        self.tissue.found.connect(self._on_tissue_found)
        self.saving.saved.connect(lambda folder: self._say(saved_words(folder, *self._former)))
        for run in (self.run, self.tissue, self.saving):
            run.failed.connect(self._on_failed)
            run.ended.connect(self._set_enabled)
        self.native.destroyed.connect(self._on_destroyed)
        WhenClosed(self.native, self._on_closed)
        bind_keys(
            self._viewer,
            self,
            {
                "G": self.grade,
                "X": self.end,
                "F": self.show_tissue,
                "R": self.region.add,
                "M": self.map.show_next,
                "S": self.choose_folder_and_save,
            },
        )

    def grade(self) -> None:
        """Start grading the chosen slide, as the button does; a run under way is left alone."""
        layer = self.slide.value
        if self._busy:
            return
        try:
            slide = self.mpp.require_slide()
            model = self.model.name
            regions = self.region.marked()
        except HmkdError as error:
            self._on_failed(str(error))
            return
        settings = GradeSettings(
            device=self.device.value,
            stride=self.stride.value,
            only_regions=self.region.only.value,
            force=self.question.insists_on(slide),
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
            self.mpp.require_slide()
        except HmkdError as error:
            self._say(str(error))
            return
        self._say("Finding the tissue ...")
        self.tissue.find(self.slide.value)
        self._set_enabled()

    def _on_slide_chosen(self, _value: object = None) -> None:
        self.mpp.turn_to_chosen()
        if not self._busy:
            self.question.hide()
            self._say(self.mpp.about)

    def _on_looked_ahead(self) -> None:
        with suppress(HmkdError):  # no file is chosen yet: the click will tell
            make_ready_ahead(self.model.name, self.device.value)

    def _on_tissue_found(self, tissue: TissueMask) -> None:
        area_mm2 = tissue.mask.sum() * tissue.mpp[0] * tissue.mpp[1] / 1e6
        self._say(f"{area_mm2:.1f} mm2 of tissue: paint and erase in its layer, then grade.")

    def _on_planned(self, grading: SlideGrading, slide_layer: napari.layers.Image) -> None:
        plan = grading.plan
        self._write_notice(grading)
        if plan.tissue is not None and self.tissue.layer_of(plan.slide) is None:
            self.tissue.show_later(slide_layer, plan.tissue)

    def _on_painted(self) -> None:
        """Leave the window the time to draw the first grades before it draws the tissue."""
        QTimer.singleShot(_DRAWING_MS, self.tissue.show_waiting)

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

    def _on_asked_other(self, _value: object = None) -> None:
        """What was wrong with the fields need not be so any more."""
        self._follow_no_more()
        if self._failure and self.status.value == self._failure:
            self._say(self.mpp.about)

    def _write_notice(self, grading: SlideGrading) -> None:
        left_out = shapes_of_no_slide(self._viewer)
        lines = (grading.plan.card.notice, *grading.warnings, left_out, BY_AREA)
        self.notice.value = "\n".join(filter(None, lines))

    def _on_doubted(self, reason: str) -> None:
        self._on_failed(reason)
        if (slide := self.slide.chosen) is not None:
            self.question.doubt(slide)

    def _on_progress(self, tried: int, planned: int, tiles_per_second: float) -> None:
        self.progress.max, self.progress.value = planned, tried
        self._say(progress_words(self.run.grading, tried, planned, tiles_per_second))

    def end(self) -> None:
        """End the grading after the batch that it is at, as the button Stop does."""
        self._follow_no_more()
        self._say("Stopping after this batch ..." if self.run.running else "Stopped.")
        self.run.stop()

    def _on_ended(self, complete: bool) -> None:
        self.tissue.show_waiting()
        grading = self.run.grading
        if grading is not None:
            self._write_notice(grading)
        if grading is None or not self.run.has_plan:
            self._following.on, self.progress.value = False, 0
            if not self._failure:
                self._say(HEATMAP_REMOVED if self.run.has_plan else NEVER_BEGAN)
            return
        if self._failure and not complete:
            return
        if self._following.on and not complete:
            # The view may have moved while the last tiles of the former one were computed.
            QTimer.singleShot(0, self._following.catch_up)
        self._say(end_words(grading, complete, self._following.on))

    def _on_forgotten(self) -> None:
        self.progress.value, self.notice.value = 0, BY_AREA
        if not self._busy:
            self._following.on = False
            self._say(self.mpp.about)
        self._set_enabled()

    @property
    def _asked(self) -> tuple[ValueWidget[Any], ...]:
        """The fields that say what is to be graded, and how."""
        return (self.slide, self.mpp, *self.model.fields, self.device, self.stride)

    @property
    def _busy(self) -> bool:
        return self.run.running or self.tissue.running or self.saving.running

    def _set_enabled(self, _value: object = None) -> None:
        """One thing at a time: what is found, graded and saved must not change meanwhile."""
        with self._keyboard.kept():
            for field in (*self._asked, self.find_tissue, self.start):
                field.enabled = not self._busy
            self.stop.enabled = self.run.running or self._following.on
        grading = self.run.grading
        shown = grading is not None and not blinding.hides(grading.plan.slide.path)
        graded = grading is not None and bool(grading.heatmap.graded.any())
        self.save.enabled = shown and graded and not self._busy
        self.save.tooltip = "" if grading is None else f"Those of {grading.plan.slide.name}"
        self.geojson_origin.offer(None if grading is None else grading.plan)

    def _on_blinding(self) -> None:
        self.map.write_legend()
        self._set_enabled()

    def choose_folder_and_save(self) -> None:
        """Ask for a folder and write the results there, as the button does."""
        if not self.save.enabled:
            self._say(self._why_not_saved)
            return
        chosen = QFileDialog.getExistingDirectory(self.native, "Folder for the results")
        if chosen:
            self.save_results(Path(chosen))

    def save_results(self, out: Path) -> None:
        """Write the files of `write_results` to `out` / the slide's name."""
        grading = self.run.grading
        if grading is None or self._busy:
            self._say(self._why_not_saved)
            return
        fingerprint = str(grading.key["slide_fingerprint"])
        folder = ResultFolder(out / grading.plan.slide.name, SUMMARY_FILE, fingerprint)
        planned, marked = grading.plan.marked, self._marked_on(grading)
        # Which tiles were graded may depend on the regions of then.
        kept = grading.plan.settings.only_regions and marked != planned
        tissue = self.tissue.mask_of(grading.plan.slide)
        self._former = kept, tissue is not None and not same_tissue(tissue, grading.plan.tissue)
        self._say(SAVING)
        self.saving.start(
            write_marked, grading, folder, planned if kept else marked, self.geojson_origin.value
        )
        self._set_enabled()

    def _marked_on(self, grading: SlideGrading) -> tuple[MarkedRegion, ...]:
        """What is marked now on the slide that was graded; what was then, if its layer has gone."""
        layer = self.run.slide_layer
        if layer is None or layer not in self._viewer.layers:
            return grading.plan.marked
        return marked_regions(self._viewer, layer)

    @property
    def _why_not_saved(self) -> str:
        if self.saving.running:
            return STILL_SAVING
        grading = self.run.grading
        if grading is not None and blinding.hides(grading.plan.slide.path):
            return f"The results are {HIDDEN}."
        return NOTHING_TO_SAVE

    def _on_failed(self, message: str) -> None:
        self._failure, self._following.on = message, False
        self._say(message)

    def _say(self, message: str) -> None:
        self.status.value = message

    def _on_closed(self) -> None:
        """Nobody sees the panel any more: what is under way ends, and its results stay."""
        self.end()
        self.tissue.close()
        self._preferences.write()

    def _on_destroyed(self, _widget: object = None) -> None:
        self.model.close()
        blinding.changed.disconnect(self._on_blinding)
        self._following.close()
        self.ahead.close()
        self._preferences.write()
        for run in (self.tissue, self.saving, self.run):
            run.close()
