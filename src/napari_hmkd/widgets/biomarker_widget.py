"""The dock widget behind "Predict biomarkers"."""

from __future__ import annotations

from pathlib import Path

import napari.layers
import napari.viewer
from magicgui.widgets import Container, Label, ProgressBar, PushButton
from qtpy.QtWidgets import QFileDialog

from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.errors import HmkdError
from napari_hmkd.export.biomarkers import ENDING, SUMMARY_FILE, write_biomarkers
from napari_hmkd.planning import GradeSettings
from napari_hmkd.widgets.biomarker_form import BiomarkerForm
from napari_hmkd.widgets.biomarker_results import BiomarkerResults
from napari_hmkd.widgets.biomarker_run import BiomarkerRequest, BiomarkerRun
from napari_hmkd.widgets.biomarker_words import end_words, progress_words, stop_words
from napari_hmkd.widgets.blinding import blinding
from napari_hmkd.widgets.closing import WhenClosed
from napari_hmkd.widgets.field_names import name_fields
from napari_hmkd.widgets.following import ViewFirst
from napari_hmkd.widgets.keyboard_focus import KeyboardKept
from napari_hmkd.widgets.keys import bind_keys
from napari_hmkd.widgets.notice import tell, wrap
from napari_hmkd.widgets.preferences import Preferences
from napari_hmkd.widgets.question import DoubtQuestion
from napari_hmkd.widgets.saved_slide import ResultFolder
from napari_hmkd.widgets.saving import SAVING, STILL_SAVING, OriginChoice, SaveRun
from napari_hmkd.widgets.scrolling import scroll
from napari_hmkd.widgets.tissue_run import TissueRun
from napari_hmkd.widgets.viewing import unwrapped, visible_region

_NOTHING = "There is no prediction to save."


class BiomarkerWidget(Container):
    """Choose a slide, a model and a device; press the button; read each status and see where it comes from.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window that it is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer = unwrapped(napari_viewer)
        self.run = BiomarkerRun(napari_viewer)
        self.tissue = TissueRun(napari_viewer)
        self.saving = SaveRun()
        self._failure, self._far = "", (0, 0)
        self.form = BiomarkerForm(napari_viewer, self.tissue)
        self.start = PushButton(text="Predict biomarkers")
        self.stop = PushButton(text="Stop", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0, label=" ")
        self.status, self.warnings = Label(value=""), Label(value="", visible=False)
        self.question = DoubtQuestion("Predict")
        self.results = BiomarkerResults(napari_viewer, self.run)
        self._following = ViewFirst(napari_viewer, self.run)
        self.geojson_origin = OriginChoice()
        self.save = PushButton(text="Save results ...", enabled=False)
        said = Container(widgets=[self.form.missing, self.status, self.warnings], labels=False)
        buttons = [self.start, self.stop, self.save]
        super().__init__(
            widgets=[
                *self.form.fields, self.geojson_origin,
                Container(widgets=buttons, layout="horizontal", labels=False),
                self.progress, said, self.question,
            ]
        )  # fmt: skip
        self.native.layout().addWidget(self.results.panel, 1)
        for label in (self.form.missing, self.status, self.warnings):
            wrap(label)
        scroll(self.native)
        name_fields([*self, *self.results.fields])
        self._keyboard = KeyboardKept(self.native, self.stop.native)
        self._connect()
        self._on_slide_chosen()
        self._preferences = Preferences(
            "biomarkers",
            model=self.form.model.line_edit,
            encoder=self.form.encoder.line_edit,
            device=self.form.device,
        )

    def _connect(self) -> None:
        for signal in (self.form.slide.changed, self.form.mpp.stated):
            signal.connect(self._on_slide_chosen)
        for field in self.form.fields:
            field.changed.connect(self._on_asked_other)
        self.start.clicked.connect(self.predict)
        self.stop.clicked.connect(self.end)
        self.question.insisted.connect(self.predict)
        self.save.clicked.connect(self.choose_folder_and_save)
        self.run.planned.connect(self._on_planned)
        self.run.doubted.connect(self._on_doubted)
        self.run.progressed.connect(self._on_progress)
        self.run.forgotten.connect(self._on_forgotten)
        self.run.ended.connect(self._on_ended)
        self.saving.saved.connect(lambda folder: self._say(f"Saved to {folder}"))
        for run in (self.run, self.saving):
            run.failed.connect(self._on_failed)
            run.ended.connect(self._set_enabled)
        blinding.changed.connect(self._on_blinding)
        self.native.destroyed.connect(self._on_destroyed)
        WhenClosed(self.native, self._on_closed)
        bind_keys(self._viewer, self, {"B": self.predict})

    def predict(self) -> None:
        """Predict the biomarkers of the chosen slide, as the button does; a run under way is left alone."""
        if self._busy:
            return
        try:
            slide = self.form.mpp.require_slide()
            model = self.form.model_name
        except HmkdError as error:
            self._on_failed(str(error))
            return
        settings = GradeSettings(
            device=self.form.device.value, force=self.question.insists_on(slide)
        )
        self._failure, self._far = "", (0, 0)
        self.question.hide()
        self._say("Opening the models, finding the tissue ...")
        encoder, tissue = self.form.encoder.value, self.tissue.mask_of(slide)
        genes, case = self.form.genes.value, self.form.case.value.strip()
        request = BiomarkerRequest(slide, model, encoder, settings, tissue, genes, case)
        layer = self.form.slide.value
        self.run.start(layer, request, visible_region(self._viewer, layer))
        self._set_enabled()

    def end(self) -> None:
        """End the encoding after the batch that it is at, as the button Stop does."""
        if self.run.running:
            self._say("Stopping after this batch ...")
        self.run.stop()

    def choose_folder_and_save(self) -> None:
        """Ask for a folder and write the results there, as the button does."""
        chosen = QFileDialog.getExistingDirectory(self.native, "Folder for the results")
        if chosen:
            self.save_results(Path(chosen))

    def save_results(self, out: Path) -> None:
        """Write the files of `write_biomarkers` to `out`, in the folder that the command line takes."""
        result = self.results.shown
        if result is None or self._busy:
            self._say(STILL_SAVING if self.saving.running else _NOTHING)
            return
        extraction = result.extraction
        fingerprint = str(extraction.key["slide_fingerprint"])
        name = f"{extraction.plan.slide.name}{ENDING}"
        self._say(SAVING)
        folder = ResultFolder(out / name, SUMMARY_FILE, fingerprint)
        self.saving.start(write_biomarkers, result, folder, self.geojson_origin.value)
        self._set_enabled()

    def _on_slide_chosen(self, _value: object = None) -> None:
        self.form.mpp.turn_to_chosen()
        if not self._busy:
            self.question.hide()
            self._say(self.form.mpp.about)

    def _on_asked_other(self, _value: object = None) -> None:
        """What was wrong with the fields need not be so any more."""
        if self._failure and self.status.value == self._failure:
            self._say(self.form.mpp.about)

    def _on_planned(self, biomarkers: SlideBiomarkers, slide_layer: napari.layers.Image) -> None:
        self._warn(biomarkers)
        plan = biomarkers.extraction.plan
        if plan.tissue is not None and self.tissue.layer_of(plan.slide) is None:
            self.tissue.show(slide_layer, plan.tissue)

    def _on_doubted(self, reason: str) -> None:
        self._on_failed(reason)
        if (slide := self.form.slide.chosen) is not None:
            self.question.doubt(slide)

    def _on_progress(self, tried: int, planned: int, tiles_per_second: float) -> None:
        self._far = tried, planned
        self.progress.max, self.progress.value = planned, tried
        self._say(progress_words(tried, planned, tiles_per_second))

    def _on_ended(self, complete: bool) -> None:
        self.results.show()
        self.results.select()
        if (result := self.run.result) is not None:
            self._warn(result)
        if self._failure:
            return
        if complete and result is not None:
            self._say(end_words(result))
        else:
            self._say(stop_words(*self._far))

    def _on_forgotten(self) -> None:
        self._far, self.progress.value = (0, 0), 0
        tell(self.warnings, "")
        self._set_enabled()

    def _on_blinding(self) -> None:
        self.results.show()
        self._set_enabled()

    def _on_failed(self, message: str) -> None:
        self._failure = message
        self._say(message)

    def _warn(self, biomarkers: SlideBiomarkers) -> None:
        lines = dict.fromkeys((biomarkers.notice, *biomarkers.warnings))
        tell(self.warnings, "\n".join(filter(None, lines)))

    @property
    def _busy(self) -> bool:
        return self.run.running or self.saving.running

    def _set_enabled(self, _value: object = None) -> None:
        """One thing at a time: what is predicted and saved must not change meanwhile."""
        with self._keyboard.kept():
            for field in (*self.form.fields, self.start):
                field.enabled = not self._busy
            self.stop.enabled = self.run.running
        result = self.results.shown
        self.save.enabled = result is not None and not self._busy
        self.geojson_origin.offer(None if result is None else result.extraction.plan)

    def _say(self, message: str) -> None:
        self.status.value = message

    def _on_closed(self) -> None:
        """Nobody sees the panel any more: what is under way ends, and its results stay."""
        self.end()
        self._preferences.write()

    def _on_destroyed(self, _widget: object = None) -> None:
        blinding.changed.disconnect(self._on_blinding)
        self._following.close()
        self._preferences.write()
        for run in (self.tissue, self.saving, self.run):
            run.close()
